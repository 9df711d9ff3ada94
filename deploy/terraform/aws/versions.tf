terraform {
  required_version = ">= 1.7"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.0"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.6"
    }
  }
  # Keep the state where it is encrypted and locked: it holds the passwords of both servers.
}

provider "aws" {
  region = var.region
  default_tags {
    tags = { service = var.name }
  }
}
