terraform {
  required_version = ">= 1.7"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 6.50"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.6"
    }
  }
  # Keep the state where it is encrypted and locked: it holds the passwords of both servers.
}

provider "google" {
  project = var.project
  region  = var.region
}
