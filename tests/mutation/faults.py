"""Faults that are put into Teal, one at a time, and the tests that have to find each.

A fault is (name, [(file, text, what replaces it), ...], tests).  The text must be there exactly
once: when the source has moved on the run fails, and the fault is to be written anew.  A test is of
pytest, or a program of tests/unit.  Those of deadlines count most: no stopwatch stands behind
their tests, so it must be shown that they look.
"""

LANE, STATE = "src/data/lane.c", "src/data/lane_state.c"


def clock(name, of):
    """A deadline of a connection that never comes."""
    return [(LANE, f"&l->{name}, {of}, ", f"&l->{name}, 0, ")]


FAULTS = [
    # ---- deadlines ----
    ("a drain's deadline is lost",
     [(STATE, "return d->orders.timeout >= 0 && now", "return d->orders.ending == END_STOP && d->orders.timeout >= 0 && now")],
     ["test_drain.py::test_idle_ones_leave_early_busy_ones_at_the_deadline"]),
    ("a stop's deadline is lost",
     [(STATE, "return d->orders.timeout >= 0 && now", "return d->orders.ending != END_STOP && d->orders.timeout >= 0 && now")],
     ["test_stop.py::test_the_busy_are_cut_at_the_timeout"]),
    ("a drain never ends",
     [("src/control/drain.c", "\tif (left == 0) {\n\t\tfinish_drain(d);", "\tif (left == 0 && now > d->deadline + 1e9) {\n\t\tfinish_drain(d);")],
     ["test_flip.py::test_wait_drained_answers_when_the_last_one_has_left"]),
    ("connect_timeout is ignored", clock("connect_clock", "c->connect_timeout"),
     ["test_network_faults.py::test_dropped_syns_cost_connect_timeout_and_no_client"]),
    ("server_timeout is ignored", [("src/data/tcp/tcp_lane.c", "&l->idle_clock[1], tcp_idle_timeout(c, c->server_timeout), ", "&l->idle_clock[1], 0, ")],
     ["test_timeouts.py::test_a_backend_that_does_not_answer_is_given_up"]),
    ("queue_timeout is ignored", clock("queue_clock", "c->limits.queue_timeout"),
     ["test_queue.py::test_who_waits_too_long_is_sent_away"]),
    ("tls.handshake_timeout is ignored", clock("handshake_clock", "c->tls.handshake_timeout"),
     ["test_tls.py::test_a_handshake_has_its_time"]),
    ("a freed place is given away at the next tick",
     [("src/data/queue.c", "\tstruct place_letter *p = malloc(sizeof(*p));", "\tstruct place_letter *p = NULL;")],
     ["test_queue.py::test_a_place_is_handed_over_without_a_tick"]),
    ("a dead teald's kernel forwards for ever",
     [("src/kernel/engine_describe.c", "? config->store.max_age : 0;", "? 0 : 0;")],
     ["test_kernel_fleet.py::test_a_dead_teald_forwards_new_ones_no_longer_than_max_age"]),
    ("a connection that ends keeps its place",
     [("src/data/admit.c", "\tif (p->place)\n\t\tqueue_give(p->lane);", "")],
     ["test_admit", "test_permit.py::test_every_way_out_gives_all_back"]),
    ("without descriptors it spins",
     [("src/data/worker_descriptors.c", "\n\tworker_pause(w);", "")],
     ["test_limits.py::test_out_of_descriptors_it_pauses_resumes_and_can_be_reached"]),
    ("a check never finds a backend down",
     [("src/control/health.c", "return c->failed > 0 && c->failed >= check_config_of(c)->fall;", "return c->failed > check_config_of(c)->fall + 1000000;")],
     ["test_health.py::test_down_after_fall_and_up_again_after_rise"]),
    # ---- flips ----
    ("applied is said when the first worker has it",
     [("src/control/engines.c", "if (ctl->engines[i].acked[t] < least)", "if (least == UINT64_MAX || ctl->engines[i].acked[t] > least)")],
     ["test_flip.py::test_applied_waits_for_the_slowest_worker"]),
    ("connects under way keep the old color",
     [(LANE, "\t\tdial_all_anew(l);\n", "\t\tif (l->stopping)\n\t\t\tdial_all_anew(l);\n")],
     ["test_flip.py::test_connects_under_way_are_dialled_anew_on_the_new_color"]),
    ("a client that waits over a flip gets the old color",
     [("src/data/dial_state.c", "\td->color = (uint8_t)color;\n\tif (counted)", "\tif (counted)")],
     ["test_queue.py::test_who_waits_over_a_flip_reaches_the_new_color"]),
    ("the preview is of the active color",
     [("include/model/snapshot.h", "return entrance == ENTRANCE_MAIN ? s->active : color_other(s->active);", "return entrance == ENTRANCE_MAIN ? s->active : s->active;")],
     ["test_preview.py::test_preview_is_always_the_idle_color"]),
    ("an epoch goes back",
     [("src/store/store_redis_read.c", "\tif (r->epoch < v->record.epoch) {\n\t\tv->disputed", "\tif (false) {\n\t\tv->disputed"),
      ("src/control/control_store.c", "if (s->known && r->epoch < s->record.epoch) {", "if (false) {")],
     ["test_fleet_faults.py::test_an_older_dump"]),
    ("a write that comes late moves traffic",
     [("src/store/redis_script.c", "\"if now > tonumber(ARGV[1]) then return { 'late', was, bad } end\\n\"", "\"\"")],
     ["test_store_redis"]),
    # ---- bytes ----
    ("a reset is swallowed",
     [("src/data/tcp/session.c", "if (s->dial.state == DIAL_REACHED && ending != END_DONE) {", "if (false) {")],
     ["test_network_faults.py::test_a_reset_in_mid_stream_is_a_reset_on_the_other_side"]),
    ("a half-close is lost",
     [("src/net/relay.c", "int said = other_done && !io_is_tls(destination) ? 1 : io_shutdown(destination);", "int said = 1;\n\n\t\t(void)other_done;")],
     ["test_forward.py::test_the_clients_end_reaches_the_backend_and_its_answer_comes_back"]),
    ("a POST is sent twice",
     [("src/data/http/exchange_dial.c", "(x->sent == 0 || x->idempotent || (x->upstream", "(true || x->idempotent || (x->upstream")],
     ["test_http_faults.py::test_what_changes_something_is_not_repeated"]),
    ("a second framing is smuggled",
     [("src/proto/http1_framing.c", "if (h->minor == 1 && length && !h->lenient)", "if (h->minor == 7 && length && !h->lenient)")],
     ["test_http_hostile.py::test_hostile_requests"]),
    # ---- limits and rights ----
    ("a limit is off by one",
     [("include/model/admission.h", "(held >= limit || n > limit - held)", "(held > limit || n > limit + 1 - held)")],
     ["test_limits.py::test_max_connections_is_exact_over_all_workers"]),
    ("a role counts for every service",
     [("src/app/teald/rights.c", "\t\tif ((r->roles[i]->allow & 1u << right) && role_covers(r->roles[i], service))\n\t\t\treturn true;\n\treturn false;\n}\n\nbool\nrights_have_any",
       "\t\tif ((r->roles[i]->allow & 1u << right) && (role_covers(r->roles[i], service) || true))\n\t\t\treturn true;\n\treturn false;\n}\n\nbool\nrights_have_any")],
     ["test_rights.py::test_the_first_role_that_allows_wins"]),
    ("what was denied is in no audit line",
     [("src/app/teald/audit.c", "\tlog_write_share(share_of(admin_user_of(cmd->admin, cmd->rights)), LOG_INFO_LEVEL, \"audit\", fields);",
       "\tif (strcmp(o->result, \"denied\") != 0)\n\t\tlog_write_share(share_of(admin_user_of(cmd->admin, cmd->rights)), LOG_INFO_LEVEL, \"audit\", fields);")],
     ["test_rights.py::test_the_audit_has_who_what_where_and_both_epochs"]),
    # ---- upgrades ----
    ("a connection begins before TAKEN is sent",
     [("src/data/handover.c", "\tenum sent sent = send_frame(ch, &f, STR(\"\"), NULL);",
       "\tenum sent sent;\n\n\tif (o->object != NULL && !ch->owes)\n\t\to->kind->resume(o->object, false);\n"
       "\tsent = send_frame(ch, &f, STR(\"\"), NULL);"),
      ("src/data/handover.c", "\to->kind->lane(o->object)->handed--;\n\to->kind->resume(o->object, false);\n",
       "\to->kind->lane(o->object)->handed--;\n")],
     ["test_handover"]),
    ("drained is said though the process before still holds some",
     [("src/control/drain.c", "\tuint64_t left = engines_count(ctl, d->color);",
       "\tuint64_t left = engines_count_of(ctl, ctl->control->engines[0], d->color);")],
     ["test_upgrade_counts.py::test_a_flip_right_behind_an_upgrade_is_of_both_processes"]),
    ("an upgrade resets totals",
     [("src/control/peer_tally.c", "\t\t\tif (!brief)\n\t\t\t\tput_side(", "\t\t\tif (s == NULL)\n\t\t\t\tput_side(")],
     ["test_upgrade_counts.py::test_no_counter_falls_over_many_upgrades_under_load"]),
]
