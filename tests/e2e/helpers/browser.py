"""A real Chromium without a window, driven through chromedriver."""
import json

from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

from . import scale

# What a person would take as unreadable: WCAG's contrast of text that is not
# large, of every text that can be seen.
CONTRASTS = """
const parse = (c) => { const m = c.match(/[\\d.]+/g).map(Number); return m.length > 3 ? m : [...m, 1]; };
const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
const light = (c) => { const v = c.slice(0, 3).map((x) => x / 255).map((x) => x <= .03928 ? x / 12.92 : ((x + .055) / 1.055) ** 2.4);
    return .2126 * v[0] + .7152 * v[1] + .0722 * v[2]; };
const found = [];
for (const e of document.body.querySelectorAll("*")) {
    const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (!own || !e.checkVisibility() || e.closest(".hidden, .skip, noscript"))
        continue;
    const chain = [];
    for (let p = e; p; p = p.parentElement)
        chain.unshift(parse(getComputedStyle(p).backgroundColor));
    const back = chain.reduce((b, a) => over(a, b), [255, 255, 255, 1]);
    const text = over(parse(getComputedStyle(e).color), back), [x, y] = [light(text), light(back)].sort((a, b) => b - a);
    found.push([(x + .05) / (y + .05), e.className + ": " + e.textContent.trim().slice(0, 40)]);
}
return found;
"""


class Browser:
    def __init__(self, *arguments):
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for a in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                  "--disable-background-networking", "--disable-component-update", "--disable-extensions",
                  *arguments):
            options.add_argument(a)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(service=Service("/usr/bin/chromedriver"), options=options)
        self.driver.set_page_load_timeout(scale.patience())

    def close(self):
        self.driver.quit()

    def look(self, theme="light", width=1440, height=900):
        """As on a screen of that size, for an eye that wants it light or dark."""
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia",
                                    {"features": [{"name": "prefers-color-scheme", "value": theme}]})
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                                    {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600})

    def open(self, teal):
        """Shows a teald's page; returns once it is live."""
        # The page of an earlier test still looks for its teald, and complains.
        self.driver.get("about:blank")
        self.driver.get_log("browser"), self.driver.get_log("performance")
        self.driver.get("http://%s:%d/" % teal.observe)
        self.run("window.sameDocument = true")
        self.until_text("#live-text", "live")
        return self

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def text(self, selector):
        """What can be read there; "" when there is no such thing."""
        return self.run("const e = document.querySelector(arguments[0]); return e && e.checkVisibility() ? e.innerText : ''",
                        selector)

    def texts(self, selector):
        return self.run("return [...document.querySelectorAll(arguments[0])]"
                        ".filter((e) => e.checkVisibility()).map((e) => e.innerText)", selector)

    def until_text(self, selector, part):
        return scale.until(lambda: part in (text := self.text(selector)) and text, f"{part!r} at {selector}", every=0.05)

    def press(self, *keys):
        from selenium.webdriver.common.action_chains import ActionChains
        ActionChains(self.driver).send_keys(*keys).perform()

    def complaints(self):
        """What the console got since it was last asked."""
        return [l["message"] for l in self.driver.get_log("browser") if l["level"] in ("SEVERE", "WARNING")]

    def requests(self):
        """Addresses asked for since then."""
        found = []
        for entry in self.driver.get_log("performance"):
            m = json.loads(entry["message"])["message"]
            if m["method"] == "Network.requestWillBeSent":
                found.append(m["params"]["request"]["url"])
        return found
