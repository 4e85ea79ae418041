#!/bin/bash
# promtool 2.42 (Debian 12): a unit test that expects an alert to be silent passes when no rule has an alert of that name.
#
# A balancer's alerts are tested with `promtool test rules`; half of the tests say that an alert does not fire ("a drained
# node is no outage"). Then the alert is renamed, or its name was mistyped from the start: the test names an alert
# that is not there. Expected: an error, since the test names what no rule file has, as one that expects it to fire fails.
# Seen: SUCCESS and status 0, while the alert that was meant fires at that very time; and a rule_files pattern that matches
# no file leaves all such tests standing with a warning and status 0. So: names in
# tests of silence need a check of their own against the rules, or beside each a test in which the same alert fires.
#
# Exit status 0: it is so; 1: it has changed; 2: it could not be tried.  Downloads prometheus 2.42 of Debian 12
# with apt-get if there is no promtool; touches nothing but a temporary folder.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

program=$(command -v promtool || true)
if [ -z "$program" ]; then
	apt-get download -qq prometheus=2.42.0+ds-5+deb12u1 >/dev/null 2>&1 || apt-get download -qq prometheus >/dev/null || exit 2
	dpkg -x prometheus_*.deb . && program=$PWD/usr/bin/promtool
fi
"$program" --version 2>&1 | sed -n 1p

cat >rules.yml <<'R'
groups:
- name: balancer
  rules:
  - alert: BackendDown
    expr: up == 0
R

verdict() {	# RULE_FILES ALERT EXPECTED
	cat >test.yml <<T
rule_files: [$1]
evaluation_interval: 1m
tests:
- interval: 1m
  input_series:
  - {series: 'up{job="shop"}', values: '0 0 0 0 0'}
  alert_rule_test:
  - {eval_time: 3m, alertname: $2, exp_alerts: [$3]}
T
	if "$program" test rules test.yml >out 2>&1; then echo passes; else echo fails; fi
}

fires='{exp_labels: {job: shop}}'
right=$(verdict rules.yml BackendDown "$fires")
silent=$(verdict rules.yml BackendDown "")
unknown=$(verdict rules.yml BackendIsDown "")
loud=$(verdict rules.yml BackendIsDown "$fires")
nothing=$(verdict 'alerts/*.yml' BackendDown "")
echo "BackendDown, which fires, is expected to fire:                 the test $right"
echo "BackendDown, which fires, is expected to be silent:            the test $silent"
echo "BackendIsDown, which no rule has, is expected to fire:         the test $loud"
echo "BackendIsDown, which no rule has, is expected to be silent:    the test $unknown"
echo "no rule file at all, BackendDown is expected to be silent:     the test $nothing"
[ "$right $silent $loud $unknown $nothing" = "passes fails fails passes passes" ]
