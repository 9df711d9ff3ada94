"""The states of a finding."""

from offerhub.kernel.states import Told, machine

FINDING = machine(
    "finding",
    "findings.status",
    "OPEN",
    {
        "OPEN": {"ACKNOWLEDGED", "RESOLVED"},
        "ACKNOWLEDGED": {"OPEN", "RESOLVED"},
        "RESOLVED": set(),
    },
    {
        "OPEN": Told(
            "Something differs, and nobody has said that they look at it.",
            "`POST …/acknowledge`, `POST …/resolve`, or by itself once it agrees again",
        ),
        "ACKNOWLEDGED": Told(
            "Somebody looks at it. It still differs, by the amount that they know of.",
            "`POST …/resolve`, or by itself: resolved once it agrees again, open when it differs by another amount",
        ),
        "RESOLVED": Told("It agrees again, or a person has decided; `resolution` says which. Seen again, it is new."),
    },
)
