"""Who may say what the zone is, and who says it: the keeper, the server, the notifier.

    policy ──ZoneContent, ZoneChange──▶ keeper ──Publish──▶ server ◀──queries── secondaries
       ▲                                  │ ▲                  │
       └──────────SendContent─────────────┘ └─(store)          └──SecondarySeen──▶ notifier ──NOTIFY──▶ secondaries
                                          └──────────Publish───────────────────────▶

The keeper is the only writer of versions, and publishes a version only once it is committed. Server and notifier ask
the keeper for the present one when they start (`GetView`), so that a restart of either serves on at once.
"""
