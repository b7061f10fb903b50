#!/usr/bin/python3
"""Plants one bug after another in the domain and asks the simulation to find each.

    planted.py SOURCE-DIRECTORY CC LIBRARY...      from the build directory, after `make tests/sim/sim`

A bug is a text of one file and what stands there instead; a text that is not found fails, so that the list stays true.
"""
import pathlib
import subprocess
import sys
import tempfile

BUGS = [
    ("a container is stopped while it is still routed", "replica.c",
     "	route(c, r, EFFECT_ROUTE_OUT, r->reason);\n	replica_await(c, r, AWAIT_DRAIN, drain_limit_ms(c, r) + DRAIN_SLACK_MS);",
     "	replica_await(c, r, AWAIT_DRAIN, 1);"),
    ("a result that is no longer awaited is taken", "result.c",
     "if (r->await != what || r->op_seq != seq)", "if (r->await != what && false)"),
    ("a late turn counts as the nodes' silence", "liveness.c",
     "	c->late_ms += c->now.mono_ms - since_ms;\n", ""),
    ("an address is used again at once", "replica.c",
     "	replica_await(c, r, AWAIT_REST, c->config.address_rest_ms);", "	replica_await(c, r, AWAIT_REST, 1);"),
    ("a mass failure moves everything", "liveness.c",
     "if (fresh < BRAKE_NODES || fresh * 3 <= workers(c) + 1)", "if (true)"),
    ("a node that returns keeps being missed", "liveness.c",
     "	if (n->has_away)\n		welcome_back(c, n);", ""),
    ("a restarted container keeps its old endpoint", "replica.c",
     "	text_replace(&r->started_at, started_at);\n", ""),
    ("what the image's name meant is not stored", "result.c",
     "			release_dirty(c, r->release);\n		}\n		cluster_touch(c, r->app);", "		}\n		cluster_touch(c, r->app);"),
    ("a new release takes the hosts away", "host.c",
     "h->app == a && !wants(a->current, h->key) && !wants(a->rolling, h->key))", "h->app == a)"),
    ("a number of a replica is used again", "rollout_place.c", "rel, n, a->next_replica++", "rel, n, a->next_replica"),
    ("a suspect node's endpoints stay in", "liveness.c",
     "			replica_suspect(c, r);", "			(void)r;"),
    ("a container that was asked for is forgotten over a crash", "replica_record.c",
     "r->maybe_created = true;", "r->maybe_created = false;"),
    ("who leaves a node does not wait for its successor", "move.c",
     "if (is_solid ? solid <= want : solid < want && (r->routed || !r->degraded))", "if (false)"),
    ("fewer replicas are asked for, and those that carry traffic go first", "rollout_settle.c",
     "if (!victim || app_surplus_rank(r) <= app_surplus_rank(victim))",
     "if (!victim || app_surplus_rank(r) >= app_surplus_rank(victim))"),
    ("what a release that was given up had brought in stays", "rollout_settle.c",
     "			replica_retire(c, r, \"its release was given up\");", "			(void)r;"),
    ("what waits for nodes is not looked at again", "rollout_place.c",
     "		list_push_back(&c->unsettled, &a->unsettled_link);", "		(void)c;"),
]


def build(source, cc, libs, name, text, directory):
    path = pathlib.Path(directory, name)
    path.write_text(text)
    objects = sorted(str(p) for p in pathlib.Path("tests/sim").glob("*.o"))
    program = str(path.with_suffix(""))
    subprocess.run([*cc.split(), "-g", "-O1", "-w", "-D_GNU_SOURCE", f"-I{source}/src", "-I.", "-o", program, str(path), *objects, *libs], check=True)
    return program


def main():
    source, cc, *libs = sys.argv[1:]
    missed = 0
    for what, name, old, new in BUGS:
        text = (pathlib.Path(source) / "src/sched" / name).read_text()
        if text.count(old) != 1:
            print(f"{what}: its text is not found once in src/sched/{name}")
            missed += 1
            continue
        with tempfile.TemporaryDirectory() as directory:
            program = build(source, cc, libs, name, text.replace(old, new), directory)
            r = subprocess.run([program, "--seeds", "300", "--steps", "1000", "--as-is"], capture_output=True, text=True, timeout=120, check=False)
        last = ((r.stdout + r.stderr).strip().splitlines() or ["?"])[-1] if r.returncode not in (0, 3) else "NOT FOUND"
        missed += last == "NOT FOUND"
        print(f"{what}: {last}")
    print(f"{len(BUGS) - missed} of {len(BUGS)} planted bugs found")
    return missed != 0


sys.exit(main())
