locals {
  environment = merge({
    NODE_ENV        = "production"
    PORT            = "4000"
    METRICS_PORT    = "9464"
    PUBLIC_BASE_URL = var.public_base_url
    STELLAR_NETWORK = "mainnet"
    LOG_LEVEL       = "info"
  }, var.environment)

  secret_names = setunion(keys(var.secrets), ["DATABASE_URL", "REDIS_URL"])
}

resource "azurerm_log_analytics_workspace" "main" {
  name                = var.name
  resource_group_name = var.resource_group_name
  location            = var.location
  sku                 = "PerGB2018"
  retention_in_days   = 90
}

resource "azurerm_user_assigned_identity" "main" {
  name                = var.name
  resource_group_name = var.resource_group_name
  location            = var.location
}

resource "azurerm_role_assignment" "secrets" {
  scope                = var.key_vault_id
  role_definition_name = "Key Vault Secrets User"
  principal_id         = azurerm_user_assigned_identity.main.principal_id
}

resource "azurerm_role_assignment" "image" {
  scope                = var.registry.id
  role_definition_name = "AcrPull"
  principal_id         = azurerm_user_assigned_identity.main.principal_id
}

resource "azurerm_container_app_environment" "main" {
  name                       = var.name
  resource_group_name        = var.resource_group_name
  location                   = var.location
  logs_destination           = "log-analytics"
  log_analytics_workspace_id = azurerm_log_analytics_workspace.main.id
  infrastructure_subnet_id   = var.apps_subnet_id
  zone_redundancy_enabled    = true

  workload_profile {
    name                  = "Consumption"
    workload_profile_type = "Consumption"
  }
}

resource "azurerm_container_app" "api" {
  name                         = "${var.name}-api"
  resource_group_name          = var.resource_group_name
  container_app_environment_id = azurerm_container_app_environment.main.id
  revision_mode                = "Single"
  workload_profile_name        = "Consumption"

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.main.id]
  }

  registry {
    server   = var.registry.server
    identity = azurerm_user_assigned_identity.main.id
  }

  dynamic "secret" {
    for_each = var.secrets
    content {
      name                = lower(replace(secret.key, "_", "-"))
      identity            = azurerm_user_assigned_identity.main.id
      key_vault_secret_id = secret.value
    }
  }

  dynamic "secret" {
    for_each = toset(["DATABASE_URL", "REDIS_URL"])
    content {
      name  = lower(replace(secret.key, "_", "-"))
      value = local.addresses[secret.key]
    }
  }

  ingress {
    external_enabled           = true
    allow_insecure_connections = false
    target_port                = 4000
    transport                  = "http"

    traffic_weight {
      latest_revision = true
      percentage      = 100
    }
  }

  template {
    min_replicas = var.api_replicas.min
    max_replicas = var.api_replicas.max
    # SHUTDOWN_SECONDS (20) and the ten seconds after which a process ends itself.
    termination_grace_period_seconds = 40

    # The guide's threshold: more replicas above 70 % CPU.
    custom_scale_rule {
      name             = "cpu"
      custom_rule_type = "cpu"
      metadata         = { type = "Utilization", value = "70" }
    }

    container {
      name   = "offerhub"
      image  = var.image
      args   = ["serve", "--no-jobs"]
      cpu    = 1
      memory = "2Gi"

      dynamic "env" {
        for_each = local.environment
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.secret_names
        content {
          name        = env.value
          secret_name = lower(replace(env.value, "_", "-"))
        }
      }

      startup_probe {
        transport               = "HTTP"
        port                    = 4000
        path                    = "/api/v1/health"
        interval_seconds        = 5
        timeout                 = 4
        failure_count_threshold = 30
      }

      liveness_probe {
        transport               = "HTTP"
        port                    = 4000
        path                    = "/api/v1/health"
        interval_seconds        = 10
        timeout                 = 5
        failure_count_threshold = 3
      }

      readiness_probe {
        transport               = "HTTP"
        port                    = 4000
        path                    = "/api/v1/ready"
        interval_seconds        = 5
        timeout                 = 4
        failure_count_threshold = 3
      }
    }
  }

  depends_on = [azurerm_role_assignment.secrets, azurerm_role_assignment.image]
}

resource "azurerm_container_app" "worker" {
  name                         = "${var.name}-worker"
  resource_group_name          = var.resource_group_name
  container_app_environment_id = azurerm_container_app_environment.main.id
  revision_mode                = "Single"
  workload_profile_name        = "Consumption"

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.main.id]
  }

  registry {
    server   = var.registry.server
    identity = azurerm_user_assigned_identity.main.id
  }

  dynamic "secret" {
    for_each = var.secrets
    content {
      name                = lower(replace(secret.key, "_", "-"))
      identity            = azurerm_user_assigned_identity.main.id
      key_vault_secret_id = secret.value
    }
  }

  dynamic "secret" {
    for_each = toset(["DATABASE_URL", "REDIS_URL"])
    content {
      name  = lower(replace(secret.key, "_", "-"))
      value = local.addresses[secret.key]
    }
  }

  template {
    min_replicas = var.worker_replicas.min
    max_replicas = var.worker_replicas.max
    # SHUTDOWN_SECONDS (20) and the ten seconds after which a process ends itself.
    termination_grace_period_seconds = 40

    # The guide's threshold: more replicas above 70 % CPU.
    custom_scale_rule {
      name             = "cpu"
      custom_rule_type = "cpu"
      metadata         = { type = "Utilization", value = "70" }
    }

    container {
      name   = "offerhub"
      image  = var.image
      args   = ["worker"]
      cpu    = 1
      memory = "2Gi"

      dynamic "env" {
        for_each = local.environment
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.secret_names
        content {
          name        = env.value
          secret_name = lower(replace(env.value, "_", "-"))
        }
      }

      startup_probe {
        transport               = "HTTP"
        port                    = 9464
        path                    = "/health"
        interval_seconds        = 5
        timeout                 = 4
        failure_count_threshold = 30
      }

      liveness_probe {
        transport               = "HTTP"
        port                    = 9464
        path                    = "/health"
        interval_seconds        = 10
        timeout                 = 5
        failure_count_threshold = 3
      }

      readiness_probe {
        transport               = "HTTP"
        port                    = 9464
        path                    = "/health"
        interval_seconds        = 5
        timeout                 = 4
        failure_count_threshold = 3
      }
    }
  }

  depends_on = [azurerm_role_assignment.secrets, azurerm_role_assignment.image]
}

resource "azurerm_container_app_job" "migrate" {
  name                         = "${var.name}-migrate"
  resource_group_name          = var.resource_group_name
  location                     = var.location
  container_app_environment_id = azurerm_container_app_environment.main.id
  workload_profile_name        = "Consumption"
  replica_timeout_in_seconds   = 900
  replica_retry_limit          = 1

  manual_trigger_config {
    parallelism              = 1
    replica_completion_count = 1
  }

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.main.id]
  }

  registry {
    server   = var.registry.server
    identity = azurerm_user_assigned_identity.main.id
  }

  dynamic "secret" {
    for_each = var.secrets
    content {
      name                = lower(replace(secret.key, "_", "-"))
      identity            = azurerm_user_assigned_identity.main.id
      key_vault_secret_id = secret.value
    }
  }

  dynamic "secret" {
    for_each = toset(["DATABASE_URL", "REDIS_URL"])
    content {
      name  = lower(replace(secret.key, "_", "-"))
      value = local.addresses[secret.key]
    }
  }

  template {
    container {
      name   = "offerhub"
      image  = var.image
      args   = ["migrate", "up"]
      cpu    = 0.5
      memory = "1Gi"

      dynamic "env" {
        for_each = local.environment
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.secret_names
        content {
          name        = env.value
          secret_name = lower(replace(env.value, "_", "-"))
        }
      }
    }
  }

  depends_on = [azurerm_role_assignment.secrets, azurerm_role_assignment.image]
}
