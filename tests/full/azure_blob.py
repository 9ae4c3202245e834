"""Azure Blob (azurite): diagnostic logs as a source, a growing append blob, and a container as the store."""

import datetime
import json
import logging
import threading
import time

from azure.storage.blob import AccountSasPermissions, BlobServiceClient, ResourceTypes, generate_account_sas

from flaky import flaky
from harness import (
    BLOB,
    HTTP,
    TOTALS,
    Polymeter,
    azure_lines,
    azurite,
    check,
    equal,
    folder,
    summary,
    totals,
    until,
)

# The emulator's public, fixed account.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
CONTAINER = "insights-logs-requestresponse"
CALLS = 500


def text(first, last):
    """The lines of some calls and their totals."""
    lines, sums = [], (0, 0, 0, 0)
    for n in range(first, last):
        more, counts = azure_lines(n)
        lines += more
        sums = tuple(a + b for a, b in zip(sums, counts))
    return "".join(lines), sums


def growing(service, env, work):
    """A source that follows an append blob which grows in pieces that end anywhere."""
    container = service.create_container("insights-logs-growing")
    config = work / "growing.toml"
    config.write_text(
        '[[source]]\nname = "azure-logs"\nkind = "azure"\nlocation = "az://insights-logs-growing"\npoll_interval_s = 1\n'
    )
    whole, wanted = text(0, 60)
    body = whole.encode()
    blob = container.get_blob_client(BLOB)
    blob.create_append_blob()
    # Cut inside the first row of the eleventh call: what is whole is ten calls.
    ten, ten_sums = text(0, 10)
    cut = len(ten.encode()) + 100
    blob.append_block(body[:cut])
    with Polymeter(work / "followed", work, env, config) as meter:
        found = lambda: meter.one(TOTALS)
        took = until(lambda: found() == ten_sums, 10)
        check("whole lines of a growing blob are in SQL within 10 s of the start", took is not None, f"{took:.1f} s" if took else found())
        time.sleep(2.5)
        equal("a cut line waits for its end", found(), ten_sums)
        equal("and is not quarantined", meter.one("SELECT count(*) FROM quarantine"), (0,))
        pieces = [body[at : at + 997] for at in range(cut, len(body), 997)]

        def append():
            for piece in pieces:
                blob.append_block(piece)
                time.sleep(0.1)

        writing = threading.Thread(target=append)
        writing.start()
        highest = 0
        while writing.is_alive():
            highest = max(highest, found()[0])
            time.sleep(0.2)
        writing.join()
        took = until(lambda: found() == wanted, 15)
        equal(f"{len(pieces)} pieces with cuts inside lines: exactly once", found(), wanted, f"{wanted[0]} calls")
        time.sleep(2.5)
        equal("and it stays so", found(), wanted)
        check("never more calls than there are", highest <= wanted[0], highest)
        check("SIGTERM ends it with exit code 0", meter.stop(), meter.process.returncode)
    more, all_sums = text(0, 70)
    blob.append_block(more.encode()[len(body) :])
    with Polymeter(work / "followed", work, env, config) as meter:
        took = until(lambda: meter.one(TOTALS) == all_sums, 15)
        equal("after a restart it reads on from where it was", meter.one(TOTALS), all_sums)
        observed = meter.one("SELECT count(*) FROM observations")
        equal("without reading a line twice", observed, (140,))
        blob.set_blob_metadata({"tier": "hot"})
        last, all_sums = text(0, 71)
        time.sleep(2.5)
        with HTTP.open(f"http://{meter.http}/api/v1/sources") as answer:
            source = json.load(answer)["sources"]["azure-logs"]
        equal("a new ETag without growth is no failure", (source["failed_objects"], source["last_error"]), (0, None))
        blob.append_block(last.encode()[len(more.encode()) : -1])
        until(lambda: meter.one(TOTALS) == all_sums, 10)
        equal("a whole last row without a line feed is counted", meter.one(TOTALS), all_sums)


def by_signature(service, env, work):
    """Two resources in one container, read with a SAS: what is found later, what a wrong signature shows."""
    now = datetime.datetime.now(datetime.timezone.utc)
    container = service.create_container("insights-logs-signed")
    resource = BLOB.split("/y=")[0]
    hour = f"y={now:%Y}/m={now:%m}/d={now:%d}/h={now:%H}/m=00/PT1H.json"
    parts = [text(0, 20), text(20, 50)]
    for name, (lines, _) in zip(("AI-EAST", "AI-WEST"), parts):
        blob = container.get_blob_client(f"{resource.replace('AI-EAST', name)}/{hour}")
        blob.create_append_blob()
        blob.append_block(lines.encode())
    sas = generate_account_sas(
        ACCOUNT, KEY, ResourceTypes(container=True, object=True), AccountSasPermissions(read=True, list=True), now + datetime.timedelta(hours=1)
    )
    secret = work / "signature"
    secret.write_text(sas[:-4] + "AAA%3D")
    config = work / "signed.toml"
    config.write_text(
        '[[source]]\nname = "signed"\nkind = "azure"\nlocation = "az://insights-logs-signed/"\npoll_interval_s = 1\n'
        f'storage_account = "{ACCOUNT}"\nauth = "sas"\nsecret_file = "signature"\n'
    )

    def state(meter):
        with HTTP.open(f"http://{meter.http}/api/v1/sources") as answer:
            return json.load(answer)["sources"]["signed"]

    both = tuple(sum(column) for column in zip(*(sums for _, sums in parts)))
    with Polymeter(work / "signed", work, env, config) as meter:
        took = until(lambda: state(meter)["state"] == "retrying", 15)
        check("a wrong SAS is shown", took is not None and "403" in state(meter)["last_error"], state(meter)["last_error"])
        secret.write_text(sas)
        took = until(lambda: meter.one(TOTALS) == both, 70)
        equal("the right one is taken without a restart; two resources", meter.one(TOTALS), both, f"{took or 0:.1f} s")
        later = container.get_blob_client(f"{resource.replace('AI-EAST', 'AI-WEST')}/{hour}")
        more, sums = text(50, 55)
        later.append_block(more.encode())
        took = until(lambda: meter.one(TOTALS)[0] == both[0] + sums[0], 15)
        check("what is appended is read", took is not None, f"{took or 0:.1f} s")
        check("SIGTERM ends it with exit code 0", meter.stop(), meter.process.returncode)


def bad_endpoint(service, url, work):
    """Blobs of three hours that grow in pieces while every third request fails and the process is killed twice."""
    container = service.create_container("insights-logs-bad")
    now = datetime.datetime.now(datetime.timezone.utc)
    resource = BLOB.split("/y=")[0]
    hours = [now - datetime.timedelta(hours=n) for n in (30, 1, 0)]
    blobs, parts = [], []
    for n, hour in enumerate(hours):
        blob = container.get_blob_client(f"{resource}/y={hour:%Y}/m={hour:%m}/d={hour:%d}/h={hour:%H}/m=00/PT1H.json")
        blob.create_append_blob()
        body, sums = text(1000 * n, 1000 * n + 40)
        blobs.append((blob, body.encode()))
        parts.append(sums)
    wanted = tuple(sum(column) for column in zip(*parts))

    def write():
        pieces = 16
        for n in range(pieces):
            for blob, body in blobs:
                blob.append_block(body[len(body) * n // pieces : len(body) * (n + 1) // pieces])
            time.sleep(0.4)

    with flaky(url) as (proxy, counts):
        env = {"AZURITE_BLOB_STORAGE_URL": proxy}
        config = work / "bad.toml"
        config.write_text(
            '[[source]]\nname = "bad"\nkind = "azure"\nlocation = "az://insights-logs-bad/"\npoll_interval_s = 1\n'
        )
        writing = threading.Thread(target=write)
        writing.start()
        for _ in range(2):
            with Polymeter(work / "bad", work, env, config) as meter:
                time.sleep(2.5)
                meter.kill()
        with Polymeter(work / "bad", work, env, config) as meter:
            writing.join()
            took = until(lambda: meter.one(TOTALS) == wanted, 60)
            equal("every third request fails, two kills, blobs of three hours grow: exact", meter.one(TOTALS), wanted, f"{took or 0:.1f} s after the last; {counts['failed']} of {counts['asked']} requests failed")
            equal("nothing is in quarantine", meter.one("SELECT count(*) FROM quarantine"), (0,))
            check("SIGTERM ends it with exit code 0", meter.stop(), meter.process.returncode)


def store_on_blob(env, work, wanted):
    place = "az://polymeter-store/deep/store"
    done = summary("azure", f"az://{CONTAINER}/", "--data", place, env=env)
    equal("import into --data az://…", done["records"], 2 * CALLS)
    equal("its totals are exact", totals(place, env), wanted)
    with Polymeter(place, work, env) as meter:
        equal("serve --data az://… answers", meter.one(TOTALS), wanted)
        check("SIGTERM ends it with exit code 0", meter.stop(), meter.process.returncode)


def main():
    logging.getLogger("azure").setLevel(logging.ERROR)
    with folder() as work, azurite(work) as url:
        env = {"AZURITE_BLOB_STORAGE_URL": url}
        endpoint = f"BlobEndpoint={url}/{ACCOUNT}"
        service = BlobServiceClient.from_connection_string(
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};{endpoint};"
        )
        service.create_container("polymeter-store")
        container = service.create_container(CONTAINER)
        whole, wanted = text(0, CALLS)
        lines = whole.splitlines(keepends=True)
        half = len(lines) // 2
        for hour, part in (("h=10", lines[:half]), ("h=11", lines[half:])):
            blob = container.get_blob_client(BLOB.replace("h=10", hour))
            blob.create_append_blob()
            for at in range(0, len(part), 50):
                blob.append_block("".join(part[at : at + 50]).encode())
        data = work / "data"
        done = summary("azure", f"az://{CONTAINER}/", "--data", data, env=env)
        found = {key: done[key] for key in ("records", "observations", "quarantined", "duplicates", "objects")}
        full = {"records": 2 * CALLS, "observations": 2 * CALLS, "quarantined": 0, "duplicates": 0, "objects": 2}
        equal("import azure az://… reads append blobs", found, full, found)
        equal("totals are exact, two rows are one call", totals(data), wanted, f"calls, input, cache read, output: {wanted}")
        done = summary("azure", f"az://{CONTAINER}/", "--data", data, env=env)
        equal("the second import says that all are duplicates", done["duplicates"], 2 * CALLS)
        equal("totals are the same after the second import", totals(data), wanted)
        store_on_blob(env, work, wanted)
        growing(service, env, work)
        by_signature(service, env, work)
        bad_endpoint(service, url, work)


main()
