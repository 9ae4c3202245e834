# Diagnostic settings of Azure OpenAI / AI Foundry accounts into one storage account, and the two roles that polymeter
# needs. Version 4 of the provider wants ARM_SUBSCRIPTION_ID. Validated with Terraform 1.11.4 and azurerm 3.95.0, which also
# checked ids as they are; every argument is in 4.55.0 too. Never planned or applied against Azure itself: read the plan.

terraform {
  required_version = ">= 1.5"
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 3.95"
    }
  }
}

provider "azurerm" {
  features {}
}

variable "accounts" {
  description = "Resource ids of the Cognitive Services accounts"
  type        = set(string)
}

variable "storage_account_id" {
  description = "Resource id of the storage account for the logs; in the Region of the accounts"
  type        = string
}

variable "reader_principal_id" {
  description = "Object id of the identity that polymeter runs as"
  type        = string
}

resource "azurerm_monitor_diagnostic_setting" "logs" {
  for_each           = var.accounts
  name               = "polymeter"
  target_resource_id = each.value
  storage_account_id = var.storage_account_id

  # Only together do they have tokens, cache, first-token time, status and caller.
  enabled_log {
    category = "RequestResponse"
  }
  enabled_log {
    category = "AzureOpenAIRequestUsage"
  }
}

resource "azurerm_role_assignment" "blobs" {
  scope                = var.storage_account_id
  role_definition_name = "Storage Blob Data Reader"
  principal_id         = var.reader_principal_id
}

resource "azurerm_role_assignment" "metrics" {
  for_each             = var.accounts
  scope                = each.value
  role_definition_name = "Monitoring Reader"
  principal_id         = var.reader_principal_id
}

output "source" {
  description = "What to paste into polymeter.toml"
  value       = <<-EOT
    [[source]]
    name = "azure-requests"
    kind = "azure"
    location = "az://insights-logs-requestresponse/"
    storage_account = "${basename(var.storage_account_id)}"
    auth = "managed_identity"

    [[source]]
    name = "azure-usage"
    kind = "azure"
    location = "az://insights-logs-azureopenairequestusage/"
    storage_account = "${basename(var.storage_account_id)}"
    auth = "managed_identity"

    [[source]]
    name = "azure-counters"
    kind = "azure-metrics"
    resources = ${jsonencode(var.accounts)}
    auth = "managed_identity"
  EOT
}
