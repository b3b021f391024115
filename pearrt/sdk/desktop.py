"""The person's desktop."""

from __future__ import annotations

from pearrt.sdk.channel import channel


def open_url(url: str) -> None:
    """Opens a public http or https page in the person's browser, if the person says yes.

    Raises Denied where the person says no or there is no terminal to ask on, TooMuch when asked too often.
    """
    channel().call("open_url", url=url).result()


def notify(title: str, body: str = "") -> None:
    """Shows a notification. Needs the permission `notify`.

    Raises Denied without it, sdk.Error where the desktop shows none.
    """
    channel().call("notify", title=title, body=body).result()
