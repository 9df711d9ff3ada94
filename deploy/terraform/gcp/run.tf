locals {
  environment = merge({
    NODE_ENV        = "production"
    PUBLIC_BASE_URL = var.public_base_url
    STELLAR_NETWORK = "mainnet"
    LOG_LEVEL       = "info"
    # Cloud Run ends a container ten seconds after SIGTERM. What is killed loses nothing but time.
    SHUTDOWN_SECONDS = "7"
  }, var.environment)

  secrets = merge(var.secrets, { for name, secret in google_secret_manager_secret.servers : name => secret.secret_id })
}

resource "google_service_account" "main" {
  account_id   = var.name
  display_name = "OFFER-HUB Orchestrator"
}

resource "google_secret_manager_secret_iam_member" "main" {
  for_each  = local.secrets
  secret_id = each.value
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.main.member
}

resource "google_cloud_run_v2_service" "api" {
  name                = "${var.name}-api"
  location            = var.region
  ingress             = "INGRESS_TRAFFIC_ALL"
  deletion_protection = true

  template {
    service_account = google_service_account.main.email
    # The longest that an event stream stays open; its client comes back and misses nothing.
    timeout = "3600s"
    # Event streams count as requests that are under way.
    max_instance_request_concurrency = 500

    scaling {
      min_instance_count = var.api_instances.min
      max_instance_count = var.api_instances.max
    }

    vpc_access {
      egress = "PRIVATE_RANGES_ONLY"
      network_interfaces {
        network    = var.network
        subnetwork = var.subnetwork
      }
    }

    containers {
      image = var.image
      args  = ["serve", "--no-jobs"]

      ports {
        container_port = 4000
      }

      resources {
        limits = { cpu = "1", memory = "1Gi" }
        # Streams and the look at what was committed go on between requests.
        cpu_idle          = false
        startup_cpu_boost = true
      }

      dynamic "env" {
        for_each = local.environment
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.secrets
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest"
            }
          }
        }
      }

      startup_probe {
        period_seconds    = 5
        timeout_seconds   = 4
        failure_threshold = 48
        http_get {
          path = "/api/v1/ready"
        }
      }

      liveness_probe {
        period_seconds    = 10
        timeout_seconds   = 5
        failure_threshold = 3
        http_get {
          path = "/api/v1/health"
        }
      }
    }
  }

  depends_on = [google_secret_manager_secret_version.servers, google_secret_manager_secret_iam_member.main]
}

# API keys are checked by the service.
resource "google_cloud_run_v2_service_iam_member" "everybody" {
  name     = google_cloud_run_v2_service.api.name
  location = var.region
  role     = "roles/run.invoker"
  member   = "allUsers"
}

# Workers answer nothing but their health, which Cloud Run asks on the port of their metrics.
resource "google_cloud_run_v2_service" "worker" {
  name                = "${var.name}-worker"
  location            = var.region
  ingress             = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  deletion_protection = true

  template {
    service_account = google_service_account.main.email

    scaling {
      min_instance_count = var.workers
      max_instance_count = var.workers
    }

    vpc_access {
      egress = "PRIVATE_RANGES_ONLY"
      network_interfaces {
        network    = var.network
        subnetwork = var.subnetwork
      }
    }

    containers {
      image = var.image
      args  = ["worker"]

      ports {
        container_port = 9464
      }

      resources {
        limits   = { cpu = "1", memory = "1Gi" }
        cpu_idle = false
      }

      dynamic "env" {
        for_each = merge(local.environment, { METRICS_PORT = "9464" })
        content {
          name  = env.key
          value = env.value
        }
      }

      dynamic "env" {
        for_each = local.secrets
        content {
          name = env.key
          value_source {
            secret_key_ref {
              secret  = env.value
              version = "latest"
            }
          }
        }
      }

      startup_probe {
        period_seconds    = 5
        timeout_seconds   = 4
        failure_threshold = 48
        http_get {
          path = "/health"
        }
      }

      liveness_probe {
        period_seconds    = 10
        timeout_seconds   = 5
        failure_threshold = 3
        http_get {
          path = "/health"
        }
      }
    }
  }

  depends_on = [google_secret_manager_secret_version.servers, google_secret_manager_secret_iam_member.main]
}

resource "google_cloud_run_v2_job" "migrate" {
  name                = "${var.name}-migrate"
  location            = var.region
  deletion_protection = false

  template {
    template {
      service_account = google_service_account.main.email
      max_retries     = 1
      timeout         = "900s"

      vpc_access {
        egress = "PRIVATE_RANGES_ONLY"
        network_interfaces {
          network    = var.network
          subnetwork = var.subnetwork
        }
      }

      containers {
        image = var.image
        args  = ["migrate", "up"]

        resources {
          limits = { cpu = "1", memory = "512Mi" }
        }

        dynamic "env" {
          for_each = local.environment
          content {
            name  = env.key
            value = env.value
          }
        }

        dynamic "env" {
          for_each = local.secrets
          content {
            name = env.key
            value_source {
              secret_key_ref {
                secret  = env.value
                version = "latest"
              }
            }
          }
        }
      }
    }
  }

  depends_on = [google_secret_manager_secret_version.servers, google_secret_manager_secret_iam_member.main]
}
