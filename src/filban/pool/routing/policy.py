"""What a Router waits for, and how long."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """All in seconds.

    probe_interval: between two looks at a server. 0.25: a dead primary is noticed within half a
        second, for four statements of 0.1 ms a second and server.
    probe_timeout: a server that does not answer its probe for so long is out. Patroni with
        retry_timeout=3 demoted healthy primaries on busy machines; being out costs us only reads
        and reconnects, and writes never go elsewhere unless another primary exists: 2.
    connect_timeout: for each host, all side by side.
    write_timeout: how long a write waits for a primary. 30: a Patroni failover with defaults takes
        5 to 27 s (measured).
    fresh_wait: how long a read with a token waits for a replica before it goes to the primary.
        0.05: streaming replicas replay within 1 to 5 ms; others are not worth the wait.
    slow_start: how long a server that comes back takes to get its full share of reads.
    tcp_user_timeout: when the kernel gives up on unacknowledged data (its own default: 15 minutes).
    """

    probe_interval: float = 0.25
    probe_timeout: float = 2.0
    connect_timeout: float = 2.0
    write_timeout: float = 30.0
    fresh_wait: float = 0.05
    slow_start: float = 10.0
    tcp_user_timeout: float = 10.0
