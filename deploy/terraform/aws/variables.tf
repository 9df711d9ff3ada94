variable "name" {
  description = "What everything is called."
  type        = string
  default     = "offerhub"
}

variable "region" {
  description = "The region, such as eu-central-1."
  type        = string
}

variable "vpc_id" {
  description = "The network that all of it lives in."
  type        = string
}

variable "public_subnet_ids" {
  description = "Subnets of the load balancer, in two zones at least."
  type        = list(string)
}

variable "private_subnet_ids" {
  description = "Subnets of tasks and servers, in two zones at least, with a NAT gateway: tasks reach the providers through it."
  type        = list(string)
}

variable "image" {
  description = "The image, best with its digest (…@sha256:…)."
  type        = string
}

variable "certificate_arn" {
  description = "A certificate of ACM for the host of public_base_url."
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

variable "secret_arn" {
  description = "A secret of Secrets Manager that you have made, a JSON object whose keys are the names in secret_names."
  type        = string
}

variable "secret_names" {
  description = "Which variables the secret holds."
  type        = list(string)
  default     = ["OFFERHUB_MASTER_KEY", "TRUSTLESS_API_KEY", "TRUSTLESS_WEBHOOK_SECRET"]
}

variable "environment" {
  description = "Further variables that are not secret; docs/reference/configuration.md has all of them."
  type        = map(string)
  default     = {}
}

variable "api_tasks" {
  description = "How many tasks of the API there are at least and at most."
  type        = object({ min = number, max = number })
  default     = { min = 2, max = 10 }
}

variable "worker_tasks" {
  description = "The same for workers."
  type        = object({ min = number, max = number })
  default     = { min = 2, max = 6 }
}

variable "database_class" {
  description = "The size of PostgreSQL."
  type        = string
  default     = "db.m7g.large"
}

variable "redis_class" {
  description = "The size of Redis; it holds jobs only."
  type        = string
  default     = "cache.t4g.small"
}
