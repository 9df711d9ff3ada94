# PostgreSQL, in two zones, with backups of two weeks.

resource "random_password" "database" {
  length  = 40
  special = false
}

resource "azurerm_private_dns_zone" "database" {
  name                = "${var.name}.postgres.database.azure.com"
  resource_group_name = var.resource_group_name
}

resource "azurerm_private_dns_zone_virtual_network_link" "database" {
  name                  = var.name
  resource_group_name   = var.resource_group_name
  private_dns_zone_name = azurerm_private_dns_zone.database.name
  virtual_network_id    = var.virtual_network_id
}

resource "azurerm_postgresql_flexible_server" "main" {
  name                          = var.name
  resource_group_name           = var.resource_group_name
  location                      = var.location
  version                       = "17"
  sku_name                      = var.database_sku
  storage_mb                    = 65536
  auto_grow_enabled             = true
  administrator_login           = "offerhub"
  administrator_password        = random_password.database.result
  delegated_subnet_id           = var.database_subnet_id
  private_dns_zone_id           = azurerm_private_dns_zone.database.id
  public_network_access_enabled = false
  backup_retention_days         = 14
  zone                          = "1"

  high_availability {
    mode                      = "ZoneRedundant"
    standby_availability_zone = "2"
  }

  lifecycle {
    # After a failover the zones have changed places.
    ignore_changes  = [zone, high_availability[0].standby_availability_zone]
    prevent_destroy = true
  }

  depends_on = [azurerm_private_dns_zone_virtual_network_link.database]
}

resource "azurerm_postgresql_flexible_server_database" "main" {
  name      = "offerhub"
  server_id = azurerm_postgresql_flexible_server.main.id
  charset   = "UTF8"
  collation = "en_US.utf8"

  lifecycle {
    prevent_destroy = true
  }
}

# Redis. Azure Managed Redis, because Azure Cache for Redis ends at version 6. One shard, so that every client can use it;
# TLS, a password, and no eviction: jobs must stay.

resource "azurerm_managed_redis" "main" {
  name                      = var.name
  resource_group_name       = var.resource_group_name
  location                  = var.location
  sku_name                  = var.redis_sku
  high_availability_enabled = true
  public_network_access     = "Disabled"

  default_database {
    access_keys_authentication_enabled = true
    client_protocol                    = "Encrypted"
    clustering_policy                  = "NoCluster"
    eviction_policy                    = "NoEviction"
  }
}

resource "azurerm_private_dns_zone" "redis" {
  name                = "privatelink.redis.azure.net"
  resource_group_name = var.resource_group_name
}

resource "azurerm_private_dns_zone_virtual_network_link" "redis" {
  name                  = var.name
  resource_group_name   = var.resource_group_name
  private_dns_zone_name = azurerm_private_dns_zone.redis.name
  virtual_network_id    = var.virtual_network_id
}

resource "azurerm_private_endpoint" "redis" {
  name                = "${var.name}-redis"
  resource_group_name = var.resource_group_name
  location            = var.location
  subnet_id           = var.endpoints_subnet_id

  private_service_connection {
    name                           = "redis"
    private_connection_resource_id = azurerm_managed_redis.main.id
    subresource_names              = ["redisEnterprise"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "redis"
    private_dns_zone_ids = [azurerm_private_dns_zone.redis.id]
  }
}

locals {
  # Both hold a password, so they reach the containers as secrets.
  addresses = {
    DATABASE_URL = "postgresql://offerhub:${random_password.database.result}@${azurerm_postgresql_flexible_server.main.fqdn}:5432/offerhub?sslmode=require"
    REDIS_URL = format(
      "rediss://:%s@%s:%s",
      urlencode(azurerm_managed_redis.main.default_database[0].primary_access_key),
      azurerm_managed_redis.main.hostname,
      azurerm_managed_redis.main.default_database[0].port,
    )
  }
}
