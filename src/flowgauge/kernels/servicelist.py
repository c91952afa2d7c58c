"""The services that are told by a flow's first bytes, by number, and how sure it is."""

from __future__ import annotations

SERVICES = (
    "",
    "tls",
    "quic",
    "http",
    "dns",
    "mdns",
    "llmnr",
    "netbios_ns",
    "netbios_dgm",
    "ssdp",
    "dhcp",
    "dhcpv6",
    "ssh",
    "stun",
    "dtls",
    "ntp",
    "mqtt",
    "bittorrent",
    "wireguard",
    "openvpn",
    "rdp",
    "smb",
    "ftp",
    "smtp",
    "pop3",
    "imap",
    "sip",
    "rtp",
    "rtcp",
)
(
    UNKNOWN,
    TLS,
    QUIC,
    HTTP,
    DNS,
    MDNS,
    LLMNR,
    NETBIOS_NS,
    NETBIOS_DGM,
    SSDP,
    DHCP,
    DHCPV6,
    SSH,
    STUN,
    DTLS,
    NTP,
    MQTT,
    BITTORRENT,
    WIREGUARD,
    OPENVPN,
    RDP,
    SMB,
    FTP,
    SMTP,
    POP3,
    IMAP,
    SIP,
    RTP,
    RTCP,
) = range(len(SERVICES))

CANDIDATE = 0  # the bytes do not contradict it; what follows decides
PORT_AND_FORM = 60  # a short form that others may have, on the service's own port
FORM = 80  # a form of some 20 bits
SIGNATURE = 95  # a signature of 32 bits or more, or a form that fits to the last byte
BOTH = 99  # the bytes of both sides
