"""What people (or attackers) may type where a name is asked for."""

NASTY = {
    "command": "; rm -rf ~",
    "substitution": "$(id)",
    "backticks": "`id`",
    "quotes": 'it\'s "quoted"',
    "newline": "first\nsecond",
    "markup": "<script>alert(1)</script>",
    "unicode": "größe-日本-🚀",
    "long": "x" * 300,
    "traversal": "../../etc",
    "option": "--upload-pack=id",
}
