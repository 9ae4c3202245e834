# Bedrock model invocation logging of one account and Region: bucket, notifications to a queue, and a role that may do no
# more than polymeter needs. Apply it once for each account and Region. Validated with Terraform 1.11.4 and version 5.73.0 of the
# provider (without the one argument that it lacks), and applied with them to a local stand-in of AWS (moto); every argument is in
# 5.99.1 and 6.25.0 too. Never applied to AWS itself: read the plan.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source = "hashicorp/aws"
      # Older ones always log video, and can't be told otherwise.
      version = ">= 5.99"
    }
  }
}

variable "bucket" {
  description = "Name of the bucket for the logs"
  type        = string
}

variable "reader_arn" {
  description = "Who may take on the reading role: the identity that polymeter runs as"
  type        = string
}

variable "external_id" {
  description = "What the reader has to say when it takes on the role"
  type        = string
}

variable "bodies" {
  description = "Whether prompts and completions are logged too. Without them tokens are metered, latency is not"
  type        = bool
  default     = false
}

variable "log_group" {
  description = "Name of a log group that Bedrock writes to, if polymeter is to read it; empty for none"
  type        = string
  default     = ""
}

variable "keep_days" {
  description = "Days that AWS keeps the logs; polymeter needs them only until it has read them"
  type        = number
  default     = 30
}

data "aws_caller_identity" "this" {}
data "aws_region" "this" {}
data "aws_partition" "this" {}

locals {
  account = data.aws_caller_identity.this.account_id
  region  = data.aws_region.this.id
  prefix  = "bedrock"
}

resource "aws_s3_bucket" "logs" {
  bucket = var.bucket
}

resource "aws_s3_bucket_public_access_block" "logs" {
  bucket                  = aws_s3_bucket.logs.id
  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_lifecycle_configuration" "logs" {
  bucket = aws_s3_bucket.logs.id
  rule {
    id     = "expire"
    status = "Enabled"
    filter {}
    expiration {
      days = var.keep_days
    }
  }
}

data "aws_iam_policy_document" "bedrock_writes" {
  statement {
    actions   = ["s3:PutObject"]
    resources = ["${aws_s3_bucket.logs.arn}/${local.prefix}/AWSLogs/${local.account}/BedrockModelInvocationLogs/*"]
    principals {
      type        = "Service"
      identifiers = ["bedrock.amazonaws.com"]
    }
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
    condition {
      test     = "ArnLike"
      variable = "aws:SourceArn"
      values   = ["arn:${data.aws_partition.this.partition}:bedrock:${local.region}:${local.account}:*"]
    }
  }
}

resource "aws_s3_bucket_policy" "logs" {
  bucket = aws_s3_bucket.logs.id
  policy = data.aws_iam_policy_document.bedrock_writes.json
}

resource "aws_bedrock_model_invocation_logging_configuration" "this" {
  depends_on = [aws_s3_bucket_policy.logs]
  logging_config {
    text_data_delivery_enabled      = var.bodies
    image_data_delivery_enabled     = false
    embedding_data_delivery_enabled = false
    video_data_delivery_enabled     = false
    s3_config {
      bucket_name = aws_s3_bucket.logs.id
      key_prefix  = local.prefix
    }
  }
}

resource "aws_sqs_queue" "notices" {
  name                      = "${var.bucket}-notices"
  message_retention_seconds = 1209600
}

data "aws_iam_policy_document" "s3_sends" {
  statement {
    actions   = ["sqs:SendMessage"]
    resources = [aws_sqs_queue.notices.arn]
    principals {
      type        = "Service"
      identifiers = ["s3.amazonaws.com"]
    }
    condition {
      test     = "ArnEquals"
      variable = "aws:SourceArn"
      values   = [aws_s3_bucket.logs.arn]
    }
    # The ARN of a bucket names no account.
    condition {
      test     = "StringEquals"
      variable = "aws:SourceAccount"
      values   = [local.account]
    }
  }
}

resource "aws_sqs_queue_policy" "notices" {
  queue_url = aws_sqs_queue.notices.id
  policy    = data.aws_iam_policy_document.s3_sends.json
}

resource "aws_s3_bucket_notification" "logs" {
  depends_on = [aws_sqs_queue_policy.notices]
  bucket     = aws_s3_bucket.logs.id
  queue {
    queue_arn     = aws_sqs_queue.notices.arn
    events        = ["s3:ObjectCreated:*"]
    filter_prefix = "${local.prefix}/AWSLogs/"
  }
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "AWS"
      identifiers = [var.reader_arn]
    }
    condition {
      test     = "StringEquals"
      variable = "sts:ExternalId"
      values   = [var.external_id]
    }
  }
}

data "aws_iam_policy_document" "reads" {
  statement {
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.logs.arn]
  }
  statement {
    actions   = ["s3:GetObject"]
    resources = ["${aws_s3_bucket.logs.arn}/${local.prefix}/AWSLogs/*"]
  }
  statement {
    actions   = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:ChangeMessageVisibility"]
    resources = [aws_sqs_queue.notices.arn]
  }
  statement {
    # These know no resources.
    actions   = ["cloudwatch:ListMetrics", "cloudwatch:GetMetricData"]
    resources = ["*"]
  }
  dynamic "statement" {
    for_each = var.log_group == "" ? [] : [var.log_group]
    content {
      # StartLiveTail is asked for with `live_tail = true` only.
      actions = ["logs:FilterLogEvents", "logs:StartLiveTail"]
      resources = [
        "arn:${data.aws_partition.this.partition}:logs:${local.region}:${local.account}:log-group:${statement.value}",
        "arn:${data.aws_partition.this.partition}:logs:${local.region}:${local.account}:log-group:${statement.value}:*",
      ]
    }
  }
  dynamic "statement" {
    for_each = var.log_group == "" ? [] : [var.log_group]
    content {
      # Live Tail wants the ARN of the group; this one knows no single group.
      actions   = ["logs:DescribeLogGroups"]
      resources = ["arn:${data.aws_partition.this.partition}:logs:${local.region}:${local.account}:log-group:*"]
    }
  }
}

resource "aws_iam_role" "read" {
  name               = "polymeter-read-${local.region}"
  assume_role_policy = data.aws_iam_policy_document.trust.json
}

resource "aws_iam_role_policy" "read" {
  role   = aws_iam_role.read.id
  policy = data.aws_iam_policy_document.reads.json
}

output "source" {
  description = "What to paste into polymeter.toml"
  value       = <<-EOT
    [[source]]
    name = "bedrock-${local.account}-${local.region}"
    kind = "bedrock"
    location = "s3://${aws_s3_bucket.logs.id}/${local.prefix}/AWSLogs/"
    queue_url = "${aws_sqs_queue.notices.id}"
    region = "${local.region}"
    role_arn = "${aws_iam_role.read.arn}"
    external_id = "${var.external_id}"

    [[source]]
    name = "bedrock-counters-${local.account}-${local.region}"
    kind = "bedrock-metrics"
    account = "${local.account}"
    region = "${local.region}"
    role_arn = "${aws_iam_role.read.arn}"
    external_id = "${var.external_id}"
  EOT
}
