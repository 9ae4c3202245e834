"""`check-config --live`: a role with everything, one without each permission in turn (moto checks signatures and policies), wrong
keys, what is not there; a container with a right and a wrong signature (azurite)."""

import datetime
import json
import logging
import subprocess
import urllib.request

import boto3
from azure.storage.blob import AccountSasPermissions, BlobServiceClient, ResourceTypes, generate_account_sas
from botocore.config import Config

from cbor_bridge import bridge
from harness import BIN, ENV, HTTP, azurite, check, folder, moto

REGION = "us-east-1"
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
NEEDED = {
    "bucket": ["s3:ListBucket", "s3:GetObject", "sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"],
    "group": ["logs:FilterLogEvents", "logs:DescribeLogGroups", "logs:StartLiveTail"],
}


def live(config, env):
    """Exit code and the line of each source."""
    import os

    done = subprocess.run([BIN, "check-config", "--live", str(config)], env={**os.environ, **env}, capture_output=True, text=True, timeout=120, check=False)
    lines = {}
    for line in done.stdout.splitlines():
        if line.startswith(("ok ", "FAILED ")):
            name = line.split()[1].rstrip(":")
            lines[name] = line
    return done.returncode, lines


def aws(work):
    with moto(work) as env:
        client = lambda service, key="x", secret="y": boto3.client(
            service, endpoint_url=env["AWS_ENDPOINT_URL"], region_name=REGION, aws_access_key_id=key, aws_secret_access_key=secret,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
        )
        s3, sqs, logs, iam = client("s3"), client("sqs"), client("logs"), client("iam")
        s3.create_bucket(Bucket="guarded")
        s3.put_object(Bucket="guarded", Key="AWSLogs/1/BedrockModelInvocationLogs/us-east-1/2026/11/21/10/x.json.gz", Body=b"x")
        url = sqs.create_queue(QueueName="guarded")["QueueUrl"]
        logs.create_log_group(logGroupName="/guarded")
        iam.create_user(UserName="polymeter")
        key = iam.create_access_key(UserName="polymeter")["AccessKey"]

        def allow(actions):
            # AWS has no permission of its own for the batches of SQS, moto has.
            actions = actions + [f"{action}Batch" for action in actions if action.startswith("sqs:") and "Receive" not in action]
            policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": actions, "Resource": "*"}]}
            # Without checks, because this user may not change its own policy.
            guard(False)
            iam.put_user_policy(UserName="polymeter", PolicyName="p", PolicyDocument=json.dumps(policy))
            guard(True)

        def guard(on):
            body = b"0" if on else b"Infinity"
            HTTP.open(urllib.request.Request(env["AWS_ENDPOINT_URL"] + "/moto-api/reset-auth", body, {"content-type": "text/plain"})).close()

        credentials = work / "credentials"
        write = lambda secret: credentials.write_text(f"[default]\naws_access_key_id = {key['AccessKeyId']}\naws_secret_access_key = {secret}\n")
        write(key["SecretAccessKey"])
        config = work / "guarded.toml"
        common = f'kind = "bedrock"\nregion = "{REGION}"\nendpoint = "{env["AWS_ENDPOINT_URL"]}"\ncredentials_file = "credentials"\n'
        config.write_text(
            f'[[source]]\nname = "bucket"\n{common}location = "s3://guarded/"\nqueue_url = "{url}"\n'
            f'[[source]]\nname = "group"\n{common}location = "cloudwatch:///guarded"\nlive_tail = true\n'
        )
        everything = [action for actions in NEEDED.values() for action in actions]
        allow(everything)
        code, lines = live(config, {})
        check("a user with everything may", code == 0 and all(line.startswith("ok") for line in lines.values()), lines)
        for name, actions in NEEDED.items():
            for action in actions:
                allow([other for other in everything if other != action])
                code, lines = live(config, {})
                others = [line for other, line in lines.items() if other != name]
                named = f": needs {action}" in lines[name] and lines[name].count("needs ") == 1
                check(f"without {action} just that is named", code != 0 and named and all(line.startswith("ok") for line in others), lines[name])
        allow(everything)
        write("wrong")
        code, lines = live(config, {})
        check("a wrong secret fails everywhere", code != 0 and all(line.startswith("FAILED") for line in lines.values()), lines)
        check("and is not shown", "wrong" not in str(lines).replace("or wrong", ""))
        guard(False)
        write(key["SecretAccessKey"])
        config.write_text(config.read_text().replace("s3://guarded/", "s3://nowhere/").replace("///guarded", "///nowhere"))
        code, lines = live(config, {})
        check("what is not there is told", code != 0 and all(line.startswith("FAILED") for line in lines.values()), lines)
        endpoint, asked = bridge(client("cloudwatch"))
        config.write_text(f'[[source]]\nname = "counters"\nkind = "bedrock-metrics"\nregion = "{REGION}"\nendpoint = "{endpoint}"\ncredentials_file = "credentials"\n')
        code, lines = live(config, {})
        check("counters answer", code == 0, (lines, sorted(set(asked))))


def azure(work):
    with azurite(work) as url:
        service = BlobServiceClient.from_connection_string(
            f"DefaultEndpointsProtocol=http;AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={url}/{ACCOUNT};"
        )
        service.create_container("guarded").upload_blob("a/PT1H.json", b"{}")
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
        sas = lambda **rights: generate_account_sas(ACCOUNT, KEY, ResourceTypes(container=True, object=True), AccountSasPermissions(**rights), until)
        config = work / "blob.toml"
        config.write_text(
            f'[[source]]\nname = "blob"\nkind = "azure"\nlocation = "az://guarded/"\nstorage_account = "{ACCOUNT}"\nauth = "sas"\nsecret_file = "sas"\n'
        )
        env = {"AZURITE_BLOB_STORAGE_URL": url}
        for what, token, needs in (
            ("a SAS with read and list may", sas(read=True, list=True), None),
            ("without list that is named", sas(read=True), "SAS with list"),
            ("without read that is named", sas(list=True), "SAS with read"),
            ("a wrong signature is refused", sas(read=True, list=True)[:-6] + "AAA%3D", "SAS with list"),
        ):
            (work / "sas").write_text(token)
            code, lines = live(config, env)
            right = code == 0 if needs is None else code != 0 and needs in lines["blob"]
            check(what, right, lines)
            check("no signature is shown", token.split("sig=")[1][:12] not in str(lines))


def main():
    logging.getLogger("azure").setLevel(logging.ERROR)
    with folder() as work:
        aws(work)
        if (ENV / "npm/node_modules/.bin/azurite-blob").exists():
            azure(work)
        else:
            print("skipped: azurite not installed", flush=True)


main()
