terraform {
  required_version = ">= 1.7"
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = "~> 4.55"
    }
    random = {
      source  = "hashicorp/random"
      version = "~> 3.6"
    }
  }
  # Keep the state where it is encrypted and locked: it holds the passwords of both servers.
}

provider "azurerm" {
  subscription_id = var.subscription_id
  features {}
}
