"""Values made to hurt, by the type that was asked for; each type gets every other type's plainest value too."""

from typing import Any

TEXTS: tuple[str, ...] = (
    "",
    " ",
    "\0",
    "a\0b",
    "\x01\x1f\x7f",
    "\r\nBcc: victim@example.com",
    "\u202e\u2066\ufeff\u200b",
    "\ud800",
    "🎾" * 40,
    "e\u0301" * 60,
    "İıß\ufb01",
    "\U0010ffff\uffff",
    "x" * 63,
    "x" * 200,
    "x" * 201,
    "x" * 100_000,
    "'; DROP TABLE bookings; --",
    "\\'\\\"$$;$1%s%n{}",
    "../../../../etc/passwd",
    "..%2f..%00.html",
    "C:\\con\\nul",
    "{{7*7}}${7*7}<%= 7*7 %>{% raw %}",
    "{{''.__class__.__mro__}}",
    '=HYPERLINK("http://example.com","x")',
    "@SUM(1+1)*cmd|' /C calc'!A0",
    "<script>alert(1)</script>",
    "http://169.254.169.254/latest/meta-data",
    "gopher://127.0.0.1:5432/_x",
    "file:///etc/passwd",
    "http://[::1",
    "https://user:secret@example.com:99999/",
    "1e400",
    "NaN",
    "-infinity",
    "2030-02-30",
    "10000-01-01",
    "0000-00-00T00:00:00Z",
    "294277-01-01T00:00:00Z",
    "4714-11-23T00:00:00Z BC",
    "9999-12-31T23:59:59.999999-23:59",
    "2030-01-01T00:00:60+00:00",
    "24:00",
    "-0",
    "00000000-0000-0000-0000-000000000000",
    "ffffffffffffffffffffffffffffffff",
    "{00000000-0000-0000-0000-000000000000}",
)
NUMBERS: tuple[Any, ...] = (
    *(-1, 0, 1, 2**15, 2**31 - 1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63 - 1, 2**63, 10**30, 10**400),
    *(0.1, -0.0, 1e308, 5e-324, float("nan"), float("inf"), float("-inf")),
)
OTHERS: tuple[Any, ...] = (None, True, False, [], {}, [[]], [None], {"": ""}, {"__proto__": {"a": 1}}, {"\0": "\0"})


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


DEEP: tuple[Any, ...] = (_nested(33), _nested(400), {"a": _nested(40)}, list(range(2000)), ["x"] * 2000)
EVERYTHING: tuple[Any, ...] = (*TEXTS, *NUMBERS, *OTHERS, *DEEP)
