"""What a browser is told a page may do: headers of every answer. Pure.

The page of a `web` app is held to its own files: no script in its markup, no frame around it or in it, no
other host for anything. A page that an app serves itself may also use scripts and styles in its markup, as
programs from elsewhere do; other hosts are as closed to it.

A content security policy does not stop everything: a page can send its person's browser to another address
with data in it (navigation), and some browsers look names up ahead or open WebRTC whatever they are told. So
a page is given no secret that is not the app's own. Source: CSP Level 3 (W3C).
"""

from __future__ import annotations

_SELF = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'{inline}; style-src 'self'{inline}; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' blob:; connect-src 'self'; "
    "worker-src 'self'; manifest-src 'self'; frame-src {frames}; child-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors {frames}; webrtc 'block'"
)
STRICT = _SELF.format(inline="", frames="'none'")
SERVED = _SELF.format(inline=" 'unsafe-inline'", frames="'self'")
_FEATURES = (
    "accelerometer", "bluetooth", "camera", "display-capture", "geolocation", "gyroscope", "hid",
    "local-fonts", "magnetometer", "microphone", "midi", "payment", "publickey-credentials-get",
    "screen-wake-lock", "serial", "storage-access", "usb", "window-management", "xr-spatial-tracking",
)  # fmt: skip


def headers(csp: str = STRICT) -> dict[str, str]:
    """The headers that every answer carries, errors too."""
    return {
        "Content-Security-Policy": csp,
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Origin-Agent-Cluster": "?1",
        "Permissions-Policy": ", ".join(f"{feature}=()" for feature in _FEATURES),
        "Referrer-Policy": "no-referrer",
        "Server": "pearrt",
        "X-Content-Type-Options": "nosniff",
        "X-DNS-Prefetch-Control": "off",
        "X-Frame-Options": "DENY" if csp == STRICT else "SAMEORIGIN",
    }
