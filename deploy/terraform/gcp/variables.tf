variable "name" {
  description = "What everything is called."
  type        = string
  default     = "offerhub"
}

variable "project" {
  description = "The project's id."
  type        = string
}

variable "region" {
  description = "The region, such as europe-west3."
  type        = string
}

variable "network" {
  description = "The VPC's id (projects/…/global/networks/…), with private service access: servers get addresses in it."
  type        = string
}

variable "subnetwork" {
  description = "The subnetwork's id in the region, a /26 or larger, for the way from Cloud Run to the two servers."
  type        = string
}

variable "image" {
  description = "The image in Artifact Registry, best with its digest (…@sha256:…)."
  type        = string
}

variable "public_base_url" {
  description = "Where the world reaches the service, such as https://payments.example.com."
  type        = string
  validation {
    condition     = startswith(var.public_base_url, "https://")
    error_message = "It has to begin with https://."
  }
}

variable "secrets" {
  description = "Variable to the id of a secret of Secret Manager that you have made."
  type        = map(string)
  default = {
    OFFERHUB_MASTER_KEY      = "offerhub-master-key"
    TRUSTLESS_API_KEY        = "offerhub-trustless-api-key"
    TRUSTLESS_WEBHOOK_SECRET = "offerhub-trustless-webhook-secret"
  }
}

variable "environment" {
  description = "Further variables that are not secret; docs/reference/configuration.md has all of them."
  type        = map(string)
  default     = {}
}

variable "api_instances" {
  description = "How many instances of the API there are at least and at most."
  type        = object({ min = number, max = number })
  default     = { min = 2, max = 10 }
}

variable "workers" {
  description = "How many workers there are."
  type        = number
  default     = 2
}

variable "database_tier" {
  description = "The size of PostgreSQL."
  type        = string
  default     = "db-custom-2-8192"
}
