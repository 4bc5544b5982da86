"""How the server is installed: extensions behind their files, data checksums."""

from filban.health.installation import collect
from filban.health.installation.rules import InstallationThresholds
from filban.pg.check import Check

CHECKS = (
    Check(
        "installation",
        ("extension.update", "checksums.off"),
        InstallationThresholds,
        collect.installation,
    ),
)
