"""Lines for the seller's feed: JSON of many kinds, and how to tell that a payload arrived unchanged."""

import json
from typing import Any

LINES = (
    '{"number": 1, "nested": {"list": [1, [2, [3, {"deep": [[[[]]]]}]]]}}',
    "null",
    "true",
    '[false, null, 0, "", [], {}]',
    "{}",
    "[]",
    '""',
    "0",
    "-1",
    "18446744073709551615",
    "18446744073709551616",
    "-18446744073709551617",
    "115792089237316195423570985008687907853269984665640564039457584007913129639935",
    "[0.1, 1.0, -2.5e-7, 1e300, 5e-324, 12345678.901234567]",
    '"Grüße, мир, 世界, 🌍, \\u0000, \\ud83d\\ude00, \\" and \\\\"',
    '{"": {"ключ": "значение"}, "a b": [1.5, {"x": null}]}',
    '{"text": "' + "long " * 2000 + '"}',
    "  [1,  2]  ",
)


def canonical(value: Any) -> str:
    """Text that is equal for equal JSON values only: it tells 1 from 1.0 and from true."""
    return json.dumps(value, sort_keys=True)


def check_equal(decrypted: list[Any], lines: list[str] | tuple[str, ...]) -> None:
    """Every decrypted payload is the value of its line."""
    for payload, line in zip(decrypted, lines, strict=True):
        assert canonical(payload) == canonical(json.loads(line)), line
