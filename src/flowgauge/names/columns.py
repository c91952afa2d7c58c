"""The columns of group `names`: name, type, unit, role, definition and formula (see schema.py)."""

from __future__ import annotations

MOST_TLS_RECORDS = 10
LEFT_OUT = ("tls_not_before", "tls_not_after", "http_path", "http_user_agent", "dns_answers")
"""Columns that there are not with `anonymize`: they tell ends, and no hash of them is of use."""

_NONE = "; null where there is none"
_BYTES = "the first 4,096 bytes of each direction's payload, up to a missing one"
_CLIENT, _SERVER = "of the client's first hello", "of the server's first hello"
_CERTIFICATE = f"of the first certificate of the server's chain, up to TLS 1.2{_NONE}"
_REQUEST, _RESPONSE = "of the first HTTP request", "of the first HTTP response"
_RECORDS = f"the first {MOST_TLS_RECORDS} TLS records, both directions"

_SERVICE = (
    (
        *("service", "category", "", "feature", "application protocol"),
        f"by {_BYTES}, else by the server's port where that is known for one; null where neither tells",
    ),
    ("service_by", "category", "", "feature", "what told the service", "payload or port; null where service is null"),
    (
        *("service_confidence", "uint8", "%", "feature", "how sure the service is"),
        "99 by both directions' bytes, 95 by a signature of 32 bits or a form that fits to the last byte, 80 by one of "
        "some 20 bits or on its own port, 60 by a short form on its own port, 20 by port; null where service is null",
    ),
)
_NAME = (
    (
        *("server_name", "category", "", "id", "name of the server"),
        "SNI of the TLS or QUIC hello, host of the first HTTP request or a name that the protocol itself gives, else "
        "the name of the client's latest DNS answer, before the flow began, with the server's address; in small "
        f"letters{_NONE}",
    ),
    (
        *("server_name_by", "category", "", "feature", "what told the name of the server"),
        "sni, quic_sni, http_host, protocol or dns_answer, in the order of server_name; null where that is null",
    ),
    (
        *("server_name_age_s", "float64", "s", "feature", "age of the DNS answer that told the name"),
        "max(0, time of the flow's first packet − time of the answer); null where server_name_by is not dns_answer",
    ),
    (
        *("server_domain", "category", "", "id", "registrable domain of the server's name"),
        "public suffix of server_name (publicsuffix.org) and one label more; null where there is none",
    ),
    (
        *("app_guess", "category", "", "id", "application that the server's name speaks for"),
        "app of the longest domain in the catalogue that server_name is or is below; null without one, and where it "
        "serves many apps",
    ),
    (
        *("app_category", "category", "", "id", "category of that domain"),
        "category of the longest domain in the catalogue that server_name is or is below; null without one",
    ),
)
_TLS = (
    (
        *("tls_version", "category", "", "feature", "version of TLS, of DTLS, or of TLS in QUIC"),
        f"that the server chose, else the highest that the client offers{_NONE}",
    ),
    (
        *("tls_cipher", "uint16", "", "feature", "cipher suite that the server chose, IANA's number"),
        f"cipher_suite {_SERVER}{_NONE}",
    ),
    (
        *("tls_alpn", "category", "", "feature", "application protocol that the client prefers"),
        f"first protocol of the extension application_layer_protocol_negotiation {_CLIENT}{_NONE}",
    ),
    (
        *("tls_ech", "bool", "", "feature", "whether the client offers Encrypted Client Hello"),
        f"whether the extension encrypted_client_hello or encrypted_server_name is there, {_CLIENT}; null without one",
    ),
    (
        *("tls_record_len", "list<uint16>", "bytes", "feature", f"lengths of {_RECORDS}"),
        "of each, in order of their headers: its length field; up to the first header that is missing or comes late; "
        "empty without TLS over TCP",
    ),
    (
        *("tls_record_direction", "list<uint8>", "", "feature", f"directions of {_RECORDS}"),
        "of each record of tls_record_len: 0 client to server, 1 server to client",
    ),
    ("tls_subject", "category", "", "id", "subject of the server's certificate", f"as RFC 4514 has it, {_CERTIFICATE}"),
    ("tls_issuer", "category", "", "id", "issuer of the server's certificate", f"as RFC 4514 has it, {_CERTIFICATE}"),
    (
        *("tls_not_before", "timestamp", "UTC", "id", "when the server's certificate becomes valid"),
        f"notBefore {_CERTIFICATE}",
    ),
    (
        *("tls_not_after", "timestamp", "UTC", "id", "when the server's certificate ceases to be valid"),
        f"notAfter {_CERTIFICATE}, or it is beyond the year 2262",
    ),
    (
        *("ja3", "category", "", "feature", "JA3 of the client"),
        f"MD5 of version, ciphers, extensions, groups and point formats {_CLIENT}, without GREASE{_NONE}",
    ),
    (
        *("ja3s", "category", "", "feature", "JA3S of the server"),
        f"MD5 of version, cipher and extensions {_SERVER}{_NONE}",
    ),
    (
        *("ja4", "category", "", "feature", "JA4 of the client"),
        "transport, version, SNI, counts and ALPN; 12 digits each of SHA-256 of sorted ciphers, and of sorted "
        f"extensions with signature algorithms; {_CLIENT}, without GREASE{_NONE}",
    ),
)
_HTTP = (
    ("http_method", "category", "", "feature", "HTTP method", f"first word {_REQUEST}{_NONE}"),
    ("http_path", "category", "", "id", "target of the HTTP request", f"second word {_REQUEST}{_NONE}"),
    ("http_user_agent", "category", "", "id", "software of the HTTP client", f"header User-Agent {_REQUEST}{_NONE}"),
    ("http_status", "uint16", "", "feature", "HTTP status", f"status code {_RESPONSE}{_NONE}"),
    (
        *("http_content_type", "category", "", "feature", "type of the HTTP response"),
        f"header Content-Type {_RESPONSE}{_NONE}",
    ),
)
_DNS = (
    (
        *("dns_query", "category", "", "id", "name that was asked"),
        f"of the first question of the flow, in small letters{_NONE}",
    ),
    ("dns_type", "category", "", "feature", "type that was asked", f"of the first question of the flow{_NONE}"),
    (
        *("dns_answers", "category", "", "id", "what was answered"),
        f"addresses and names in the answers of the first response, separated by commas{_NONE}",
    ),
    ("dns_rcode", "uint8", "", "feature", "result of the query", f"RCODE of the first response{_NONE}"),
    (
        *("dns_response_s", "float64", "s", "feature", "time that the answer took"),
        "max(0, time of the server's first response with the id of the client's first query − time of that); null "
        "without both",
    ),
)
_OTHERS = (
    *(
        (
            *(f"ssh_{end}", "category", "", "feature", f"software of the SSH {end}"),
            f"identification string of the {end} (RFC 4253 §4.2){_NONE}",
        )
        for end in ("client", "server")
    ),
    *(
        (
            *(name, "category", "", "feature", f"HASSH of the SSH {end}"),
            f"MD5 of the key exchanges, ciphers, MACs and compressions that the {end} offers{_NONE}",
        )
        for name, end in (("hassh", "client"), ("hassh_server", "server"))
    ),
    (
        *("device_name", "category", "", "id", "what a host calls itself"),
        f"host name in DHCP, NetBIOS or mDNS{_NONE}",
    ),
)
NAMES = (*_SERVICE, *_NAME, *_TLS, *_HTTP, *_DNS, *_OTHERS)
