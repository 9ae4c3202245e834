#!/usr/bin/env python3
"""Writes list.csv and conflicts.csv from two public catalogues of list prices.

    python3 -m venv venv && venv/bin/pip install genai-prices && venv/bin/pip install --no-deps litellm
    venv/bin/python src/pricing/data/import.py --date 2026-11-21

Reads genai-prices (dated; speaks for direct, Google and Bedrock standard rates) and LiteLLM's model list (undated; speaks
for Azure, scopes, regions, tiers and batch). Where both speak about the same thing and differ, neither is taken: the
difference goes to conflicts.csv, for a person. Numbers stay text or Decimal, never float. Model names come from the
catalogue itself: a test of the crate resolves them. See README.md beside this file for the choices made.
"""

import argparse
import collections
import csv
import datetime
import importlib.metadata
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
from decimal import Decimal

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[2]
MILLION = Decimal(1_000_000)
OPENAI, ANTHROPIC, GEMINI, VERTEX = "openai", "anthropic", "gcp.gemini", "gcp.vertex_ai"
BEDROCK, AZURE, FOUNDRY = "aws.bedrock", "azure.ai.openai", "azure.ai.inference"

# LiteLLM's `litellm_provider` -> platform.
PROVIDERS = {
    "openai": OPENAI, "text-completion-openai": OPENAI, "anthropic": ANTHROPIC, "gemini": GEMINI, "azure": AZURE,
    "azure_text": AZURE, "azure_ai": FOUNDRY, "bedrock": BEDROCK, "bedrock_converse": BEDROCK, "bedrock_mantle": BEDROCK,
}
MODES = {"chat", "responses", "completion", "embedding"}
# Routes of LiteLLM that are bought otherwise: another product, or commitments that are never priced per token.
SKIPPED = re.compile(r"claude_platform/|-commitment/|^bedrock/invoke/|^container|^azure/ft|x-\d+/")
FIELDS = {
    "input_cost_per_token": "input", "output_cost_per_token": "output", "cache_read_input_token_cost": "cache_read",
    "cache_creation_input_token_cost": "cache_write_5m", "cache_creation_input_token_cost_above_1hr": "cache_write_1h",
    "input_cost_per_audio_token": "audio_input", "output_cost_per_audio_token": "audio_output",
    "input_cost_per_image_token": "image_input",
}
FIELD = re.compile(rf"({'|'.join(sorted(FIELDS, key=len, reverse=True))})(?:_above_(\d+)k_tokens)?(?:_(batches|flex|priority))?")
UNITS = {
    "input_mtok": "input", "output_mtok": "output", "cache_read_mtok": "cache_read", "cache_write_mtok": "cache_write_5m",
    "cache_write_1h_mtok": "cache_write_1h", "input_audio_mtok": "audio_input", "output_audio_mtok": "audio_output",
}
# Units of genai-prices that no call record counts, beside tokens that are billed as above.
IGNORED_UNITS = {"web_searches_kcount", "storage_searches_kcount", "input_video_mtok", "cache_audio_read_mtok"}
GEOGRAPHIES = ("us", "eu", "apac", "jp", "au")

Cell = collections.namedtuple("Cell", "platform model snapshot scope tier mode bucket over")
Price = collections.namedtuple("Price", "amount start end source ref")  # start, end: ISO day or ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--date", required=True, help="the day of this import, YYYY-MM-DD: recorded_at of its rows")
    today = parser.parse_args().date
    datetime.date.fromisoformat(today)
    genai, providers = read_genai(today)
    litellm, entries = read_litellm()
    names = resolve({(e["platform"], e["spelling"]) for e in genai + entries})
    notes = []
    dated = genai_cells(genai, names, notes)
    flat, disputed = litellm_cells(entries, names, notes)
    dated, flat = collapse(dated, flat)
    dated = spread(dated, flat)
    date_azure(dated)
    anchor(flat, providers, today)
    rows = merge(dated, flat, disputed, today, notes)
    write(rows, notes, today)
    print(f"{len(rows)} rows, {len(notes)} notes; genai-prices {version('genai-prices')}, litellm {version('litellm')}")


def version(package):
    return importlib.metadata.version(package)


# --- reading -----------------------------------------------------------------------------------------------------

def read_genai(today):
    """One entry per model, platform and scope: dated prices per bucket and threshold."""
    from genai_prices import data, types

    providers = {p.id: p for p in data.providers}
    entries = []
    for provider in ("openai", "anthropic", "aws", "azure", "google"):
        for model in providers[provider].models:
            for platform, spelling, scope in places(provider, model.id):
                entries.append({
                    "platform": platform, "spelling": spelling, "scope": scope, "ref": f"{provider}/{model.id}",
                    "periods": periods(model, types),
                })
    return entries, providers


def places(provider, name):
    if provider == "aws":
        head, _, rest = name.partition(".")
        scope = {"global": "global", "regional": "regional"}.get(head)
        return [(BEDROCK, rest if scope else name, scope or "any")]
    if provider == "azure":
        return [(FOUNDRY if name.startswith(("phi", "mai", "wizard")) else AZURE, name, "global")]
    if provider == "google":
        if name.startswith("claude"):
            return [(VERTEX, name, "*")]
        return [(VERTEX, name, "*")] if name.endswith("-maas") else [(VERTEX, name, "*"), (GEMINI, name, "*")]
    return [(provider, name, "*")]


def periods(model, types):
    """[(start, {(bucket, over): Decimal})], or the reason why it can't be used."""
    listed = model.prices if isinstance(model.prices, list) else [types.ConditionalPrice(prices=model.prices)]
    out = []
    for item in listed:
        if item.constraint is not None and not hasattr(item.constraint, "start_date"):
            return "time of day"
        start = item.constraint.start_date.isoformat() if item.constraint else ""
        found = {}
        for unit, value in item.prices.__dict__.items():
            if value is None or unit in IGNORED_UNITS:
                continue
            if unit not in UNITS:
                return f"unit {unit}"
            if isinstance(value, Decimal):
                found[UNITS[unit], ""] = value
            else:
                found[UNITS[unit], ""] = value.base
                for tier in value.tiers:
                    found[UNITS[unit], str(tier.start)] = tier.price
        out.append((start, found))
    return sorted(out, key=lambda period: period[0])


def read_litellm():
    import importlib.util

    folder = pathlib.Path(importlib.util.find_spec("litellm").submodule_search_locations[0])
    text = (folder / "model_prices_and_context_window_backup.json").read_text()
    models = json.loads(text, parse_float=Decimal, parse_int=Decimal)
    entries = []
    for key, model in models.items():
        provider = model.get("litellm_provider") or ""
        platform = VERTEX if provider.startswith("vertex_ai") else PROVIDERS.get(provider)
        if platform is None or model.get("mode") not in MODES or SKIPPED.search(key):
            continue
        region = re.match(r"bedrock(?:_mantle)?/([a-z]{2}-[a-z-]+-\d)/", key)
        entries.append({"platform": platform, "spelling": key, "model": model, "region": region and region[1], "ref": key})
    return models, entries


def resolve(pairs):
    """(platform, spelling) -> what the catalogue makes of it."""
    pairs = sorted(pairs)
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "names")
        path.write_text("".join(f"{platform}\t{spelling}\n" for platform, spelling in pairs))
        command = ["cargo", "test", "-q", "--no-default-features", "--lib", "names_for_the_importer", "--", "--ignored"]
        subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "POLYMETER_NAMES": str(path)}, stdout=sys.stderr)
        lines = pathlib.Path(f"{path}.out").read_text().split("\n")
    keys = ("publisher", "model", "snapshot", "scope", "geo", "tier")
    return {pair: dict(zip(keys, line.split("\t"))) for pair, line in zip(pairs, lines)}


# --- cells -------------------------------------------------------------------------------------------------------

def genai_cells(entries, names, notes):
    source = f"genai-prices {version('genai-prices')}"
    cells = {}
    for entry in entries:
        name = names[entry["platform"], entry["spelling"]]
        if isinstance(entry["periods"], str):
            notes.append(("unsupported", source, entry["ref"], entry["periods"], "", ""))
            continue
        if not name["model"]:
            notes.append(("unnamed", source, entry["ref"], "", "", ""))
            continue
        starts = [start for start, _ in entry["periods"]] + [""]
        for (start, found), end in zip(entry["periods"], starts[1:]):
            for (bucket, over), amount in found.items():
                cell = Cell(entry["platform"], name["model"], name["snapshot"], entry["scope"], "standard", "sync", bucket, over)
                kept = cells.setdefault(cell, [])
                if not any(price.start == start for price in kept):
                    kept.append(Price(amount, start, end, source, entry["ref"]))
    return cells


def litellm_cells(entries, names, notes):
    source = f"litellm {version('litellm')}"
    cells = {}
    disputed = set()
    for entry in sorted(entries, key=lambda e: (len(e["ref"]), e["ref"])):
        name, model = names[entry["platform"], entry["spelling"]], entry["model"]
        if not name["model"] or name["tier"]:
            notes.append(("unnamed", source, entry["ref"], "", "", ""))
            continue
        reasoning = model.get("output_cost_per_reasoning_token")
        if reasoning is not None and reasoning != model.get("output_cost_per_token"):
            notes.append(("unsupported", source, entry["ref"], "reasoning has a price of its own", "", ""))
            continue
        for field, value in model.items():
            match = FIELD.fullmatch(field)
            if not match or not isinstance(value, Decimal) or value == 0:
                continue  # 0 stands for unknown too often to be taken for a price
            bucket, over, tier = FIELDS[match[1]], str(int(match[2]) * 1000) if match[2] else "", match[3]
            mode = "batch" if tier == "batches" else "sync"
            tier = tier if tier in ("flex", "priority") else "standard"
            for scope, factor in scopes(entry, name, model):
                cell = Cell(entry["platform"], name["model"], name["snapshot"], scope, tier, mode, bucket, over)
                price = Price(plain(value * MILLION * factor), "", "", source, entry["ref"])
                if cell not in cells:
                    cells[cell] = [price]
                elif cells[cell][0].amount != price.amount:
                    kept = cells[cell][0]
                    disputed.add(cell)
                    notes.append(("two spellings", label(cell), kept.ref, entry["ref"], kept.amount, price.amount))
    return {cell: prices for cell, prices in cells.items() if cell not in disputed}, disputed


def scopes(entry, name, model):
    """Scopes that an entry of LiteLLM speaks for, each with the factor on its amounts."""
    platform, one = entry["platform"], Decimal(1)
    if platform == BEDROCK:
        if entry["region"]:
            return [(f"in_region:{entry['region']}", one)]
        return [(f"geo:{name['geo']}" if name["geo"] else name["scope"] or "in_region", one)]
    if platform in (AZURE, FOUNDRY):
        if name["geo"]:
            return [(f"geo:{name['geo']}", one)]
        return [("global", one)] if platform == AZURE or name["publisher"] in ("openai", "anthropic") else [("*", one)]
    if platform == VERTEX:
        uplift = model.get("regional_endpoint_uplift_multiplier")
        if uplift:
            return [("global", one), ("in_region", uplift), ("geo:us", uplift), ("geo:eu", uplift)]
        return [("*", one)]
    out = [("*", one)]
    for geo in ("us", "eu"):
        uplift = model.get(f"regional_processing_uplift_multiplier_{geo}")
        if uplift:
            out.append((f"geo:{geo}", uplift))
    return out


def collapse(*catalogues):
    """An edition that never differs from its model is the model; one that does keeps all of its own rows. Editions of a
    model without undated rows are the model if they all agree."""
    models = collections.defaultdict(set)
    for cells in catalogues:
        for cell in cells:
            models[cell.platform, cell.model].add(cell.snapshot)
    views = []
    for cells in catalogues:
        view = collections.defaultdict(dict)
        for cell, prices in cells.items():
            key = cell._replace(snapshot="")
            view[cell.platform, cell.model, cell.snapshot][key] = [(price.amount, price.start) for price in prices]
        views.append(view)

    def differ(model, one, other):
        pairs = [(view[(*model, one)], view[(*model, other)]) for view in views]
        return any(a[cell] != b[cell] for a, b in pairs for cell in a.keys() & b.keys())

    own = set()
    for model, editions in models.items():
        dated = sorted(editions - {""})
        if "" in editions:
            own.update((*model, edition) for edition in dated if differ(model, edition, ""))
        elif any(differ(model, one, other) for one in dated for other in dated):
            own.update((*model, edition) for edition in dated)
    out = []
    for cells in catalogues:
        kept = {}
        for cell, prices in sorted(cells.items(), key=lambda item: item[0].snapshot):
            key = cell if (cell.platform, cell.model, cell.snapshot) in own else cell._replace(snapshot="")
            kept.setdefault(key, prices)
        out.append(kept)
    return out


def spread(dated, flat):
    """Gives genai-prices' rows the scopes that they stand for on Bedrock and Vertex."""
    known = collections.defaultdict(set)
    for cell in flat:
        if cell.tier == "standard" and cell.mode == "sync":
            known[cell.platform, cell.model].add(cell.scope)
    out = {}
    for cell, prices in sorted(dated.items(), key=lambda item: item[0].scope != "any"):
        scopes = [cell.scope]
        there = known[cell.platform, cell.model]
        if cell.platform == BEDROCK and cell.scope == "regional":
            geos = {s for s in there if s.startswith("geo:") and s != "geo:us-gov"}
            scopes = ["in_region", *sorted(geos or {"geo:us", "geo:eu"})]
        elif cell.platform == BEDROCK and cell.scope == "any":
            # An id without a prefix speaks for the region, and for profiles only where the other says the same.
            def agrees(scope):
                other = flat.get(cell._replace(scope=scope))
                return other is not None and other[0].amount == plain(prices[-1].amount)
            scopes = ["in_region", *sorted(s for s in there if s.startswith(("geo:", "global")) and agrees(s))]
        elif cell.platform == VERTEX and "global" in there:
            scopes = ["global"]
        for scope in scopes:
            out[cell._replace(scope=scope)] = prices
    return out


def date_azure(dated):
    """genai-prices' own Azure entries are undated: they can't be older than the same direct price."""
    for cell, prices in dated.items():
        direct = dated.get(cell._replace(platform=OPENAI, scope="*"))
        if cell.platform == AZURE and direct and len(prices) == 1 and direct[-1].amount == prices[0].amount:
            dated[cell] = [prices[0]._replace(start=direct[-1].start)]


def anchor(flat, providers, today):
    """LiteLLM knows no dates. Where genai-prices gives the platform itself the same amounts, they hold since genai-prices
    says so. Where it gives them to the maker's own platform and they never changed there, they hold from the start; a
    change there is no evidence, since platforms follow late. All else holds from the day of the import."""
    groups = collections.defaultdict(dict)
    for cell, prices in flat.items():
        groups[cell.platform, prices[0].ref][cell] = prices[0]
    for (platform, ref), cells in groups.items():
        start = today
        for cell in cells:
            if cell.tier == "standard" and cell.mode == "sync" and not cell.over and cell.bucket == "input":
                start = min((day for day in agreed(platform, ref, cell, cells, providers, today)), default=today)
                break
        for cell, price in cells.items():
            flat[cell] = [price._replace(start=start)]


def agreed(platform, ref, cell, cells, providers, today):
    from genai_prices import types

    own = {OPENAI: "openai", ANTHROPIC: "anthropic", BEDROCK: "aws", VERTEX: "google", GEMINI: "google"}.get(platform)
    makers = ["openai"] if re.match(r"(gpt|o\d|text-emb|codex|ft:)", cell.model) else ["anthropic"] if "claude" in cell.model else []
    spelling = re.sub(r"^(azure_ai|azure|vertex_ai|gemini|bedrock|bedrock_mantle|us|eu|global|us-gov)/", "", ref)
    spelling = re.sub(r"^(us|eu|us-gov|global|global-standard|[a-z]{2}-[a-z-]+-\d)/", "", spelling)
    bare = re.sub(r"^((us-gov|us|eu|apac|jp|au|global|in)\.)?(anthropic|openai)\.", "", spelling)
    factors = [Decimal(1)] if cell.scope in ("*", "global") else [Decimal(1), Decimal("1.1")]
    for name in [own, *makers]:
        for text in (spelling, bare):
            model = name and providers[name].find_model(text)
            history = periods(model, types) if model else None
            if not history or isinstance(history, str):
                continue
            current = [(start, found) for start, found in history if start <= today]
            for factor in factors:
                since = None
                for start, found in reversed(current):
                    same = all(
                        (cells.get(cell._replace(bucket=bucket)) or Price(None, "", "", "", "")).amount
                        in (None, plain(found[bucket, ""] * factor))
                        for bucket in ("input", "output") if (bucket, "") in found
                    ) and ("input", "") in found
                    if not same:
                        break
                    since = start
                if since == "" or (since is not None and name == own):
                    yield since


# --- merging -----------------------------------------------------------------------------------------------------

def merge(dated, flat, disputed, today, notes):
    rows = {}
    dropped = set(disputed)
    silent = {cell._replace(over="") for cell in dated} - {cell._replace(over="") for cell in dated if cell.over}
    for cell, prices in dated.items():
        other = flat.get(cell)
        current = next((p for p in reversed(prices) if p.start <= today), None)
        differs = other and current and plain(current.amount) != other[0].amount
        if differs:
            notes.append(("conflict", label(cell), current.ref, other[0].ref, plain(current.amount), other[0].amount))
        if differs or cell in disputed:
            dropped.add(cell)
            prices = [p for p in prices if p is not current]
        for price in prices:
            rows[cell, price.start] = price
    # Where the standard price is in dispute, so are the tiers and modes beside it.
    where = lambda cell: (cell.platform, cell.model, cell.snapshot, cell.scope)
    doubtful = {where(cell) for cell in dropped if cell.bucket == "input"}
    for cell, (price,) in flat.items():
        if cell in dated or where(cell) in doubtful:
            continue
        base = cell._replace(over="")
        if cell.over and base in dated and base not in dropped:
            # One says that long contexts cost more, the other has no word for them: taken, and listed.
            notes.append(("threshold of one only", label(cell), "", price.ref, "", price.amount))
            if base not in silent:
                continue
        rows[cell, price.start] = price
    rows = shield(rows)
    priced = {cell for cell, _ in rows}
    return {key: price for key, price in rows.items() if not key[0].over or key[0]._replace(over="") in priced}


def shield(rows):
    """A region or geography that has a price of its own must not fall back to the broader one before the day of its
    row: its row starts with the broader one."""
    starts = collections.defaultdict(list)
    for cell, start in rows:
        starts[cell].append(start)
    out = {}
    for (cell, start), price in rows.items():
        broader = {"*", "in_region"} if cell.scope.startswith("in_region:") else {"*"} - {cell.scope}
        earlier = [day for scope in broader for day in starts.get(cell._replace(scope=scope), [])]
        if earlier and start == min(starts[cell]) and min(earlier) < start:
            price = price._replace(start=min(earlier))
        out[cell, price.start] = price
    return out


def label(cell):
    edition = f"@{cell.snapshot}" if cell.snapshot else ""
    over = f":over-{cell.over}" if cell.over else ""
    return f"{cell.platform}:{cell.model}{edition}:{cell.scope}:{cell.tier}:{cell.mode}:{cell.bucket}{over}"


def plain(amount):
    """Without exponent and without trailing zeros."""
    return Decimal(format(amount.normalize(), "f"))


def write(rows, notes, today):
    header = "platform,model,snapshot,scope,tier,mode,bucket,context_over,per,amount,currency,valid_from,valid_to,recorded_at,source,source_ref"
    with open(HERE / "list.csv", "w", newline="") as file:
        file.write(header + "\n")
        for (cell, start), price in sorted(rows.items(), key=lambda item: (item[0][0], item[0][1])):
            fields = [*cell, "1000000", format(plain(price.amount), "f"), "USD", start, price.end, today, price.source, price.ref]
            if any("," in field or "\n" in field for field in fields):
                raise SystemExit(f"a field of {fields} can't be written without quotes")
            file.write(",".join(fields) + "\n")
    with open(HERE / "conflicts.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["kind", "what", "entry", "other_entry", "amount", "other_amount"])
        writer.writerows(sorted(set(tuple(map(str, note)) for note in notes)))


if __name__ == "__main__":
    main()
