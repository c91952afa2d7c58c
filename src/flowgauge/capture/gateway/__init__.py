"""This machine as the router of its LAN clients, and back again exactly.

::

    GatewayOptions ──▶ Machine ──▶ Plan ──▶ up ──▶ state file ──▶ down
    what is asked      what is     what     does   what was       undoes
                       there       to do    it     there          it

Everything is told to the kernel by `nft` (one script is one transaction), `/proc/sys` and `ip -json`: programs and
files that every Debian has, and whose wording `--dry-run` can show. A netlink library would add a dependency and say
the same less readably.
"""
