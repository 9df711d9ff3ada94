variable "name" {
  description = "What everything is called; small letters, digits and hyphens, unique in Azure for the two servers."
  type        = string
  default     = "offerhub"
}

variable "subscription_id" {
  description = "The subscription."
  type        = string
}

variable "resource_group_name" {
  description = "A resource group that is there."
  type        = string
}

variable "location" {
  description = "The region, such as germanywestcentral."
  type        = string
}

variable "virtual_network_id" {
  description = "The network that all of it lives in."
  type        = string
}

variable "apps_subnet_id" {
  description = "A subnet of /27 or larger, delegated to Microsoft.App/environments."
  type        = string
}

variable "database_subnet_id" {
  description = "A subnet of /28 or larger, delegated to Microsoft.DBforPostgreSQL/flexibleServers."
  type        = string
}

variable "endpoints_subnet_id" {
  description = "A subnet for the private endpoint of Redis."
  type        = string
}

variable "image" {
  description = "The image in a registry, best with its digest (…@sha256:…)."
  type        = string
}

variable "registry" {
  description = "The registry's name (….azurecr.io) and id; the apps are allowed to pull from it."
  type        = object({ server = string, id = string })
}

variable "public_base_url" {
  description = "Where the world reaches the service, such as https://payments.example.com."
  type        = string
  validation {
    condition     = startswith(var.public_base_url, "https://")
    error_message = "It has to begin with https://."
  }
}

variable "key_vault_id" {
  description = "A key vault (with access by roles) that holds the secrets below."
  type        = string
}

variable "secrets" {
  description = "Variable to the address of a secret in the key vault (https://….vault.azure.net/secrets/…)."
  type        = map(string)
  validation {
    condition     = alltrue([for name in ["OFFERHUB_MASTER_KEY", "TRUSTLESS_API_KEY", "TRUSTLESS_WEBHOOK_SECRET"] : contains(keys(var.secrets), name)])
    error_message = "OFFERHUB_MASTER_KEY, TRUSTLESS_API_KEY and TRUSTLESS_WEBHOOK_SECRET have to be among them."
  }
}

variable "environment" {
  description = "Further variables that are not secret; docs/reference/configuration.md has all of them."
  type        = map(string)
  default     = {}
}

variable "api_replicas" {
  description = "How many replicas of the API there are at least and at most."
  type        = object({ min = number, max = number })
  default     = { min = 2, max = 10 }
}

variable "worker_replicas" {
  description = "The same for workers."
  type        = object({ min = number, max = number })
  default     = { min = 2, max = 6 }
}

variable "database_sku" {
  description = "The size of PostgreSQL."
  type        = string
  default     = "GP_Standard_D2ds_v5"
}

variable "redis_sku" {
  description = "The size of Redis; it holds jobs only."
  type        = string
  default     = "Balanced_B0"
}
