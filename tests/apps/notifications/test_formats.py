"""What is posted keeps to each service's own published limits, and shows texts from outside as they are."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import jsonschema
import pytest
from slack_sdk.models.attachments import BlockAttachment
from slack_sdk.models.blocks import Block

from devflow.apps.notifications.channels import discord, email, slack, teams, webhook
from devflow.apps.notifications.channels.base import Delivery
from devflow.apps.notifications.messages import Message, cut, duration
from tests.apps.notifications.conftest import BARE, FULL, LONG, MESSAGES, NASTY

each_message = pytest.mark.parametrize("name", MESSAGES)


def units(text: str) -> int:
    """Characters as chat services count them."""
    return len(text.encode("utf-16-le")) // 2


# --- Slack ------------------------------------------------------------------------------------------------------------


@each_message
def test_slack_takes_it(name: str) -> None:
    """slack_sdk's models know Block Kit's limits: they raise on what Slack would refuse."""
    told = slack.payload(MESSAGES[name])
    assert told.keys() == {"text", "attachments"}
    assert 0 < len(told["text"]) <= 3000
    [attachment] = told["attachments"]
    parsed = Block.parse_all(attachment["blocks"])
    assert len(parsed) == len(attachment["blocks"]) <= 50
    for block, sent in zip(parsed, attachment["blocks"], strict=True):
        block.validate_json()
        assert block.to_dict() == sent  # nothing of it is unknown to the SDK
    BlockAttachment(blocks=parsed, color=attachment["color"]).validate_json()
    for block in attachment["blocks"]:
        assert units(block.get("text", {}).get("text", "")) <= (150 if block["type"] == "header" else 3000)
        assert all(units(field["text"]) <= 2000 for field in block.get("fields", []))


def test_slack_shows_texts_as_they_are() -> None:
    sent = json.dumps(slack.payload(FULL))
    assert "<" not in sent
    assert ">" not in sent.replace('">', "")
    assert "&lt;!channel&gt;" in sent
    assert "&amp;amp;" in sent
    assert "[link](https://evil.example)" in sent
    blocks = slack.payload(FULL)["attachments"][0]["blocks"]
    assert all(block["text"].get("verbatim", True) for block in blocks if "text" in block)
    formatted = [text for block in blocks for text in (block.get("text"), *block.get("fields", ())) if text]
    marked = [text["text"] for text in formatted if text["type"] == "mrkdwn"]
    assert [text[:3] for text in marked] == ["```"], "only code is formatted: nothing else could be escaped in there"
    assert sum("*bold* _it_ ~no~ `code`" in text["text"] for text in formatted) >= 4
    [fenced] = [block["text"]["text"] for block in blocks if block.get("text", {}).get("text", "").startswith("```")]
    assert fenced.count("```") == 2
    assert blocks[-1]["elements"][0]["url"] == FULL.url


def test_an_escaped_text_is_cut_between_entities() -> None:
    for limit in range(1, 60):
        escaped = slack.escape_within("<&>" * 30, limit)
        assert len(escaped) <= limit
        assert escaped.replace("&lt;", "").replace("&gt;", "").replace("&amp;", "").strip("…") == ""


# --- Discord ----------------------------------------------------------------------------------------------------------


@each_message
def test_discord_takes_it(name: str) -> None:
    """The limits of Discord's API reference: title 256, description 4096, 25 fields of 256 and 1024, 6000 in all."""
    told = discord.payload(MESSAGES[name])
    assert told.keys() == {"embeds", "allowed_mentions"}
    assert told["allowed_mentions"] == {"parse": []}
    [embed] = told["embeds"]
    assert embed.keys() <= {"title", "description", "url", "timestamp", "color", "fields"}
    assert 0 < units(embed["title"]) <= 256
    assert units(embed.get("description", "")) <= 4096
    assert len(embed["fields"]) <= 25
    for field in embed["fields"]:
        assert field.keys() == {"name", "value", "inline"}
        assert 0 < units(field["name"]) <= 256
        assert 0 < units(field["value"]) <= 1024
    texts = [embed["title"], embed.get("description", "")]
    texts += [field[part] for field in embed["fields"] for part in ("name", "value")]
    assert sum(map(units, texts)) <= 6000
    assert 0 <= embed["color"] <= 0xFFFFFF
    json.dumps(told).encode()


def test_discord_shows_texts_as_they_are() -> None:
    [embed] = discord.payload(FULL)["embeds"]
    author = next(field["value"] for field in embed["fields"] if field["name"] == "Author")
    assert author.startswith(r"\*bold\* \_it\_ \~no\~ \`code\`")
    assert r"\@everyone" in author
    assert r"\[link\]\(https\:" in author
    quoted, fence = embed["description"].split("\n```\n")[0], embed["description"].split("\n```\n")[1]
    assert r"\<\@U123\>" in quoted
    assert "```" not in fence.removesuffix("\n```")
    assert embed["url"] == FULL.url


# --- Teams ------------------------------------------------------------------------------------------------------------


@each_message
def test_teams_takes_it(name: str) -> None:
    """The card is valid by Microsoft's schema of the version that it says, and within the 28 KB of a Teams message."""
    told = teams.payload(MESSAGES[name])
    assert len(json.dumps(told).encode()) <= 28 * 1024
    assert told["type"] == "message"
    [attachment] = told["attachments"]
    assert attachment["contentType"] == "application/vnd.microsoft.card.adaptive"
    card = attachment["content"]
    schema = json.loads(files("adaptive_cards").joinpath(f"schemas/schema-{card['version']}.json").read_text())
    # Teams' own extension, which the general schema does not know
    jsonschema.validate({key: value for key, value in card.items() if key != "msteams"}, schema)
    assert card["version"] == "1.4"


def test_the_schema_is_one_that_refuses() -> None:
    card = teams.payload(FULL)["attachments"][0]["content"]
    schema = json.loads(files("adaptive_cards").joinpath("schemas/schema-1.4.json").read_text())
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**card, "body": [{"type": "RichTextBlock"}]}, schema)


def test_teams_shows_texts_as_they_are() -> None:
    """Texts from outside are text runs only, which know no markdown and no mentions."""
    card = teams.payload(FULL)["attachments"][0]["content"]

    def kinds(item: Any) -> set[str]:
        if isinstance(item, list):
            return set().union(*map(kinds, item))
        if not isinstance(item, dict):
            return set()
        own = (
            {item["type"]}
            if any(NASTY[:20] in str(value) for value in item.values() if isinstance(value, str))
            else set()
        )
        return own.union(*map(kinds, item.values()))

    assert kinds(card["body"]) == {"TextRun"}
    assert card["actions"][0]["url"] == FULL.url


# --- e-mail -----------------------------------------------------------------------------------------------------------


def delivery(message: Message) -> Delivery:
    return Delivery(id="0199", event="deployment.failed", subject="0198", message=message)


@each_message
def test_a_mail_is_text_and_html(name: str) -> None:
    mail = email.compose(delivery(MESSAGES[name]), to=["ada@example.com"], sender="DevFlow <d@panel.example.org>")
    text, html = mail.iter_parts()
    assert (text.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert MESSAGES[name].title[:50].split()[0] in text.get_content()
    raw = mail.as_bytes()
    assert max(map(len, raw.splitlines())) <= 998  # RFC 5322, 2.1.1
    headers = raw.split(b"\n\n")[0]
    assert headers.count(b"Subject:") == 1


def test_a_mail_is_known_again_and_joins_its_thread() -> None:
    mail = email.compose(delivery(FULL), to=["ada@example.com", "bob@example.com"], sender="d@panel.example.org")
    assert mail["Message-ID"] == "<0199@panel.example.org>"
    assert mail["References"] == "<0198@panel.example.org>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["To"] == "ada@example.com, bob@example.com"
    assert len(mail["Subject"]) <= 200


def test_a_mail_shows_texts_as_they_are() -> None:
    evil = Message(title="Line\r\nBcc: mallory@example.com", commit_message=NASTY, error="<img src=x>")
    mail = email.compose(delivery(evil), to=["ada@example.com"], sender="d@panel.example.org")
    assert mail["Bcc"] is None
    assert mail["Subject"] == "Line Bcc: mallory@example.com"
    html = list(mail.iter_parts())[1].get_content()
    assert "<script>" not in html
    assert "<img" not in html
    assert "&lt;script&gt;" in html


# --- webhook ----------------------------------------------------------------------------------------------------------


def test_a_webhook_says_all_that_is_known() -> None:
    told = webhook.document(delivery(FULL))
    assert (told["id"], told["event"], told["commit_message"]) == ("0199", "deployment.failed", NASTY)
    assert told["duration_seconds"] == 185.4
    assert webhook.document(delivery(BARE))["author"] is None
    assert json.loads(json.dumps(webhook.document(delivery(LONG))))


# --- messages ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0, "0.0 s"), (9.94, "9.9 s"), (42.4, "42 s"), (185.4, "3 min 5 s"), (3720, "1 h 2 min")],
)
def test_a_duration_is_told(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize("text", ["", "abc", "🚀🚀🚀", "ab🚀", "a b c"])
def test_a_text_is_cut_to_the_limit(text: str) -> None:
    for limit in range(1, 9):
        kept = cut(text, limit)
        assert units(kept) <= limit
        assert kept == text if units(text) <= limit else kept.endswith("…")
        assert "\ufffd" not in kept


def test_what_cannot_be_stored_or_would_be_obeyed_is_left_out() -> None:
    odd = Message(title="a\x00b\x1b[31mred\x1b[0m\x07\ud800", error="one\ntwo\tthree\r\u202efour" + "x" * 50_000)
    stored = odd.to_json()
    assert stored["title"] == "abred"
    assert stored["error"].startswith("one\ntwo\tthreefour")
    assert len(stored["error"]) == 20_000


def test_a_message_of_another_version_is_read() -> None:
    assert Message.from_json({"title": "A", "unknown": 1}) == Message(title="A")
    assert Message.from_json(json.loads(json.dumps(BARE.to_json()))) == BARE
