"""Names that try to lead somewhere else, as attackers' lists have them."""

_TARGETS = ["etc/passwd", "bgeraser.db", "secret.key", "img_0123456789abcdefABCDEF", "windows/win.ini"]
_STEPS = [
    "../",
    "..\\",
    "....//",
    "..%2f",
    "%2e%2e/",
    "%2e%2e%2f",
    "..%5c",
    "%252e%252e%252f",
    "..%c0%af",
    "..;/",
    ".../",
    "..%00/",
    "\u2025/",
    "\uff0e\uff0e\uff0f",
]
_PREFIXES = ["", "/", "img_0123456789abcdefABCDEF/", "file://"]

#: More than 200 strings, none of which is an id of ours.
TRAVERSALS = [
    *(prefix + step * 3 + target for prefix in _PREFIXES for step in _STEPS for target in _TARGETS[:4]),
    *(f"/{target}" for target in _TARGETS),
    "",
    ".",
    "..",
    "~",
    "img_",
    "img_short",
    "img_0123456789abcdefABCDEF\n",
    "img_0123456789abcdefABCDEF\x00",
    "img_0123456789abcdefABCDEF.png",
    " img_0123456789abcdefABCDEF",
    "IMG_0123456789abcdefABCDEF",
    "img_" + "a" * 5000,
    "img_\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18",
    "CON",
    "img_%00%00%00%00%00%00%00",
]
assert len(TRAVERSALS) >= 200
