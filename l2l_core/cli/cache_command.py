"""``l2l cache``: what lies in the cache."""

from l2l_core.cli.options import AsJson, Root, print_json, print_table, say, size_text


def run(root: Root = None, as_json: AsJson = False) -> None:
    """List what lies in the cache: data set, raw files or store, size, and where.

    Examples:
        l2l cache
        l2l cache --root /data/l2l --json
    """
    from l2l_core.fetch.cache import Cache, entries

    cache = Cache.at(root)
    found = [
        {"dataset": entry.dataset, "kind": entry.kind, "size_bytes": entry.size_bytes, "path": str(entry.path)}
        for entry in entries(cache)
    ]
    if as_json:
        print_json(found)
        return
    print_table(
        ["dataset", "kind", "size", "path"],
        [
            [str(row["dataset"]), str(row["kind"]), size_text(int(str(row["size_bytes"]))), str(row["path"])]
            for row in found
        ],
    )
    total = sum(entry.size_bytes for entry in entries(cache))
    say(f"{size_text(total)} in {cache.root}; `l2l remove DATASET` frees what a data set takes")
