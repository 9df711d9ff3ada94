# PostgreSQL, in two zones, with backups of two weeks.

resource "random_password" "database" {
  length  = 40
  special = false
}

resource "google_sql_database_instance" "main" {
  name                = var.name
  database_version    = "POSTGRES_17"
  deletion_protection = true

  settings {
    tier              = var.database_tier
    edition           = "ENTERPRISE"
    availability_type = "REGIONAL"
    disk_type         = "PD_SSD"
    disk_autoresize   = true

    ip_configuration {
      ipv4_enabled    = false
      private_network = var.network
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      point_in_time_recovery_enabled = true
      start_time                     = "02:30"
      transaction_log_retention_days = 7

      backup_retention_settings {
        retained_backups = 14
      }
    }

    database_flags {
      name  = "max_connections"
      value = "300"
    }
  }
}

resource "google_sql_database" "main" {
  name     = "offerhub"
  instance = google_sql_database_instance.main.name
}

resource "google_sql_user" "main" {
  name     = "offerhub"
  instance = google_sql_database_instance.main.name
  password = random_password.database.result
}

# Redis, with a password and no eviction: jobs must stay. Its TLS is signed by an authority of its own, which no client
# trusts by itself; it is reached inside the VPC only, so there is none.

resource "google_redis_instance" "main" {
  name                    = var.name
  tier                    = "STANDARD_HA"
  memory_size_gb          = 1
  redis_version           = "REDIS_7_2"
  region                  = var.region
  authorized_network      = var.network
  connect_mode            = "PRIVATE_SERVICE_ACCESS"
  auth_enabled            = true
  transit_encryption_mode = "DISABLED"

  redis_configs = {
    maxmemory-policy = "noeviction"
  }
}

# Both addresses hold a password, so they reach the containers as secrets.

locals {
  addresses = {
    DATABASE_URL = "postgresql://offerhub:${random_password.database.result}@${google_sql_database_instance.main.private_ip_address}:5432/offerhub?sslmode=require"
    REDIS_URL    = "redis://:${google_redis_instance.main.auth_string}@${google_redis_instance.main.host}:${google_redis_instance.main.port}"
  }
}

resource "google_secret_manager_secret" "servers" {
  for_each  = toset(["DATABASE_URL", "REDIS_URL"])
  secret_id = "${var.name}-${lower(replace(each.value, "_", "-"))}"

  replication {
    auto {}
  }
}

resource "google_secret_manager_secret_version" "servers" {
  for_each    = google_secret_manager_secret.servers
  secret      = each.value.id
  secret_data = local.addresses[each.key]
}
