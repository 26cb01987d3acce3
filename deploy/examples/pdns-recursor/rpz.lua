-- PowerDNS Recursor takes the zone from tapir and blocks by it: `lua-config-file=/etc/powerdns/rpz.lua` in recursor.conf.
-- It asks by itself, every `refresh` seconds; it does not listen to NOTIFY for policy zones.

rpzPrimary("127.0.0.1:5359", "dnstapir", {
    refresh = 10,
    seedFile = "/var/lib/powerdns/dnstapir.zone",   -- a copy, used from the first query after a restart
    dumpFile = "/var/lib/powerdns/dnstapir.zone",
})
