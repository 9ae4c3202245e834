"""deploy/aws and deploy/azure: accepted by the providers, applied against a local AWS (moto), and what they print works.

TF_PROVIDERS names a folder with the programs of the providers (terraform-provider-aws, terraform-provider-azurerm); without it
`terraform init` fetches them."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tomllib
import urllib.parse

import boto3
from botocore.config import Config

from cbor_bridge import bridge
from harness import BIN, check, equal, folder, moto

DEPLOY = pathlib.Path("deploy").resolve()
TERRAFORM = os.environ.get("TERRAFORM", "terraform")
PROVIDERS = os.environ.get("TF_PROVIDERS")
REGION = "eu-central-1"
OWN = "123456789012"
READER = f"arn:aws:iam::{OWN}:user/polymeter"
BUCKET = "acme-llm-logs"
VARIABLES = {"bucket": BUCKET, "reader_arn": READER, "external_id": "ours"}
# What docs/sources.md says a bucket, a queue and counters need, and nothing else.
NEEDED = {
    "s3:ListBucket": f"arn:aws:s3:::{BUCKET}",
    "s3:GetObject": f"arn:aws:s3:::{BUCKET}/bedrock/AWSLogs/*",
    **{f"sqs:{verb}": f"arn:aws:sqs:{REGION}:{OWN}:{BUCKET}-notices" for verb in ("ReceiveMessage", "DeleteMessage", "ChangeMessageVisibility")},
    "cloudwatch:ListMetrics": "*",
    "cloudwatch:GetMetricData": "*",
}
TEST_AZURE = """
mock_provider "azurerm" {}
variables {
  accounts            = ["%(group)s/Microsoft.CognitiveServices/accounts/chat", "%(group)s/Microsoft.CognitiveServices/accounts/code"]
  storage_account_id  = "%(group)s/Microsoft.Storage/storageAccounts/acmellmlogs"
  reader_principal_id = "00000000-0000-0000-0000-00000000000b"
}
run "whole" {
  command = apply
  assert {
    condition     = length(azurerm_monitor_diagnostic_setting.logs) == 2 && length(azurerm_role_assignment.metrics) == 2
    error_message = "not one setting and one role for each account"
  }
}
""" % {"group": "/subscriptions/00000000-0000-0000-0000-00000000000a/resourceGroups/acme/providers"}


class Terraform:
    """A copy of one folder of deploy/ that terraform works in."""

    def __init__(self, name, work, env=None):
        self.name, self.folder = name, work / name
        shutil.copytree(DEPLOY / name, self.folder)
        self.file = self.folder / "main.tf"
        self.env = {**os.environ, "TF_IN_AUTOMATION": "1", "CHECKPOINT_DISABLE": "1", **(env or {})}
        if PROVIDERS:
            rc = self.folder / "terraformrc"
            rc.write_text('provider_installation {\n  dev_overrides {\n' + "".join(f'    "hashicorp/{one}" = {json.dumps(PROVIDERS)}\n' for one in ("aws", "azurerm")) + "  }\n}\n")
            self.env["TF_CLI_CONFIG_FILE"] = str(rc)

    def run(self, *words, limit=300):
        return subprocess.run([TERRAFORM, *words], cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=limit, check=False)

    def ready(self):
        """Whether the provider is there; says why not."""
        provider = {"aws": "aws", "azure": "azurerm"}[self.name]
        if PROVIDERS:
            found = (pathlib.Path(PROVIDERS) / f"terraform-provider-{provider}").exists()
            found or print(f"skipped: no terraform-provider-{provider} in TF_PROVIDERS", flush=True)
            return found
        done = self.run("init", "-input=false", "-no-color", limit=240)
        if done.returncode == 0:
            return True
        text = done.stdout + done.stderr
        if "Failed to query available provider packages" in text or "Failed to install provider" in text:
            print(f"skipped: the provider {provider} can't be fetched; TF_PROVIDERS may name a folder with it", flush=True)
        else:
            check(f"{self.name}: terraform init", False, text[-500:])
        return False

    def validate(self):
        """Errors and warnings of `terraform validate`."""
        told = json.loads(self.run("validate", "-json").stdout)
        return [f"{one['severity']}: {one['summary']}" for one in told["diagnostics"] if "development overrides" not in one["summary"]]

    def accepted(self, wrong, right):
        found = self.validate()
        equal(f"{self.name}: terraform validate finds nothing", found, [])
        text = self.file.read_text()
        assert right in text
        self.file.write_text(text.replace(right, wrong))
        check(f"{self.name}: and finds an argument that is misspelt", any(one.startswith("error") for one in self.validate()))
        self.file.write_text(text)


def statements(text):
    """The statements of a policy, lists where one value may stand alone."""
    many = lambda value: sorted(value) if isinstance(value, list) else [value]
    return [{**one, "Action": many(one["Action"]), "Resource": many(one.get("Resource", []))} for one in json.loads(text)["Statement"]]


def condition(statement):
    return {(test, key): value if isinstance(value, str) else value[0] for test, keys in statement["Condition"].items() for key, value in keys.items()}


def policies(clients):
    """What AWS now holds grants what is needed, to whom it is needed, and no more."""
    one = statements(clients("s3").get_bucket_policy(Bucket=BUCKET)["Policy"])
    equal("Bedrock alone may write, below its prefix alone", [(s["Effect"], s["Principal"], s["Action"], s["Resource"]) for s in one],
          [("Allow", {"Service": "bedrock.amazonaws.com"}, ["s3:PutObject"], [f"arn:aws:s3:::{BUCKET}/bedrock/AWSLogs/{OWN}/BedrockModelInvocationLogs/*"])])
    equal("and for this account and Region alone", condition(one[0]),
          {("StringEquals", "aws:SourceAccount"): OWN, ("ArnLike", "aws:SourceArn"): f"arn:aws:bedrock:{REGION}:{OWN}:*"})
    equal("nothing is public", set(clients("s3").get_public_access_block(Bucket=BUCKET)["PublicAccessBlockConfiguration"].values()), {True})
    sqs = clients("sqs")
    url = sqs.get_queue_url(QueueName=f"{BUCKET}-notices")["QueueUrl"]
    held = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    one = statements(held["Policy"])
    equal("S3 alone may send to the queue", [(s["Effect"], s["Principal"], s["Action"], s["Resource"]) for s in one],
          [("Allow", {"Service": "s3.amazonaws.com"}, ["sqs:SendMessage"], [held["QueueArn"]])])
    equal("and for this bucket of this account alone", condition(one[0]),
          {("ArnEquals", "aws:SourceArn"): f"arn:aws:s3:::{BUCKET}", ("StringEquals", "aws:SourceAccount"): OWN})
    iam, role = clients("iam"), f"polymeter-read-{REGION}"
    trust = iam.get_role(RoleName=role)["Role"]["AssumeRolePolicyDocument"]
    one = statements(trust if isinstance(trust, str) else json.dumps(trust))
    equal("the reader alone may take on the role, with the external id", [(s["Effect"], s["Principal"], s["Action"], condition(s)) for s in one],
          [("Allow", {"AWS": READER}, ["sts:AssumeRole"], {("StringEquals", "sts:ExternalId"): "ours"})])
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    held = iam.get_role_policy(RoleName=role, PolicyName=names[0])["PolicyDocument"]
    one = statements(held if isinstance(held, str) else json.dumps(held))
    granted = {action: s["Resource"][0] for s in one for action in s["Action"] if s["Effect"] == "Allow" and len(s["Resource"]) == 1}
    equal("the role may do what docs/sources.md names", granted, NEEDED)
    equal("and has no other policy", (len(names), iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]), (1, []))
    logging = clients("bedrock").get_model_invocation_logging_configuration()["loggingConfig"]
    equal("calls are logged to the bucket", logging["s3Config"], {"bucketName": BUCKET, "keyPrefix": "bedrock"})
    sent = {key: value for key, value in logging.items() if key.endswith("DeliveryEnabled")}
    equal("without bodies", set(sent.values()), {False}, ", ".join(sorted(sent)))


def delivers(clients):
    """An object below the prefix is told to the queue."""
    key = f"bedrock/AWSLogs/{OWN}/BedrockModelInvocationLogs/{REGION}/2026/11/21/10/x.json.gz"
    clients("s3").put_object(Bucket=BUCKET, Key=key, Body=b"")
    sqs = clients("sqs")
    url = sqs.get_queue_url(QueueName=f"{BUCKET}-notices")["QueueUrl"]
    told = [one["Body"] for _ in range(3) for one in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])]
    check("a new log object is told to the queue", any(key in urllib.parse.unquote_plus(body) for body in told), told if not told else "")


def check_config(text, path, *words, env=None):
    """Exit code and lines of `polymeter check-config` about what Terraform printed."""
    path.write_text(text)
    done = subprocess.run([BIN, "check-config", *words, str(path)], capture_output=True, text=True, timeout=120, check=False,
                          env={**os.environ, **(env or {})})
    return done.returncode, (done.stdout + done.stderr).strip()


def aws(work):
    with moto(work) as env:
        url = env["AWS_ENDPOINT_URL"]
        clients = lambda service: boto3.client(service, endpoint_url=url, region_name=REGION, aws_access_key_id="test", aws_secret_access_key="test",
                                               config=Config(s3={"addressing_style": "path"}))
        one = Terraform("aws", work, {f"TF_VAR_{key}": value for key, value in VARIABLES.items()})
        if not one.ready():
            return
        if "video_data_delivery_enabled" not in one.run("providers", "schema", "-json").stdout:
            text = one.file.read_text()
            one.file.write_text(re.sub(r"\n *video_data_delivery_enabled .*", "", text))
            print("# aws: this provider is older than deploy/aws asks for: run without video_data_delivery_enabled", flush=True)
        one.accepted("filter_prefx ", "filter_prefix")
        services = "\n".join(f'    {name} = "{url}"' for name in ("bedrock", "iam", "s3", "sqs", "sts"))
        (one.folder / "local.tf").write_text(
            f'provider "aws" {{\n  region = "{REGION}"\n  access_key = "test"\n  secret_key = "test"\n  s3_use_path_style = true\n'
            f"  skip_metadata_api_check = true\n  endpoints {{\n{services}\n  }}\n}}\n"
        )
        done = one.run("apply", "-auto-approve", "-input=false", "-no-color", limit=600)
        if not check("terraform apply", done.returncode == 0, (done.stdout + done.stderr)[-1500:] if done.returncode else done.stdout.split("Apply complete! ")[-1].split(".")[0]):
            return
        done = one.run("plan", "-detailed-exitcode", "-input=false", "-no-color")
        check("a second plan changes nothing", done.returncode == 0, (done.stdout + done.stderr)[-1500:] if done.returncode else "")
        policies(clients)
        delivers(clients)
        text = one.run("output", "-raw", "source").stdout
        equal("what it prints are the sources of the bucket and of the counters", [source["kind"] for source in tomllib.loads(text)["source"]], ["bedrock", "bedrock-metrics"])
        code, lines = check_config(text, work / "aws.toml")
        check("check-config accepts what it prints", code == 0, lines[-300:] if code else "")
        metrics, _ = bridge(clients("cloudwatch"))
        first, second = text.split("[[source]]")[1:]
        local = f'[[source]]\nendpoint = "{url}"{first}[[source]]\nendpoint = "{metrics}"{second}'
        code, lines = check_config(local, work / "live.toml", "--live", env=env)
        check("check-config --live reads both with the role", code == 0, lines[-300:] if code else "")
        clients("s3").delete_object(Bucket=BUCKET, Key=f"bedrock/AWSLogs/{OWN}/BedrockModelInvocationLogs/{REGION}/2026/11/21/10/x.json.gz")
        done = one.run("destroy", "-auto-approve", "-input=false", "-no-color", limit=600)
        check("terraform destroy", done.returncode == 0, (done.stdout + done.stderr)[-800:] if done.returncode else "")


def mocked(one, text):
    """What a run with the provider's checks, but without its cloud, told, and the errors in it."""
    (one.folder / "whole.tftest.hcl").write_text(text)
    done = one.run("test", "-json", "-verbose")
    told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    wrong = [f"{line['diagnostic']['summary']}: {line['diagnostic']['detail']}" for line in told if line.get("diagnostic", {}).get("severity") == "error"]
    return told, wrong if wrong or done.returncode == 0 else [done.stderr[-500:] or "failed"]


def azure(work):
    one = Terraform("azure", work)
    if not one.ready():
        return
    one.accepted("targt_resource_id", "target_resource_id")
    _, wrong = mocked(one, TEST_AZURE.replace('"/subscriptions', '"subscriptions'))
    check("azure: the provider refuses what is no resource id", wrong, wrong and wrong[0])
    told, wrong = mocked(one, TEST_AZURE)
    check("azure: and accepts resource ids as they are, without Azure behind it", not wrong, wrong or "")
    states = [line["test_state"] for line in told if "test_state" in line]
    if not states:
        check("azure: a state comes of it", False, done.stdout[-500:])
        return
    values = states[-1].get("values", states[-1])
    resources = [one["values"] for one in values["root_module"]["resources"]]
    categories = {log["category"] for one in resources for log in one.get("enabled_log", [])}
    equal("azure: both categories that are needed", categories, {"RequestResponse", "AzureOpenAIRequestUsage"})
    roles = sorted((one["role_definition_name"], one["scope"].rsplit("/", 1)[-1]) for one in resources if "role_definition_name" in one)
    equal("azure: two roles, no wider than storage account and accounts", roles,
          [("Monitoring Reader", "chat"), ("Monitoring Reader", "code"), ("Storage Blob Data Reader", "acmellmlogs")])
    code, lines = check_config(values["outputs"]["source"]["value"], work / "azure.toml")
    check("azure: check-config accepts what it prints", code == 0, lines[-300:] if code else "")


def main():
    for name in ("aws", "azure"):
        done = subprocess.run([TERRAFORM, "fmt", "-check", "-diff", str(DEPLOY / name)], capture_output=True, text=True, check=False)
        equal(f"{name}: formatted as terraform fmt does", done.stdout, "")
    with folder() as work:
        aws(work)
        azure(work)


main()
