output "address" {
  description = "The app's own name; bind the name in public_base_url to it, with a certificate."
  value       = azurerm_container_app.api.ingress[0].fqdn
}

output "migrate" {
  description = "Applies migrations before the apps are changed; they would do it at their start as well."
  value       = "az containerapp job start --name ${azurerm_container_app_job.migrate.name} --resource-group ${var.resource_group_name}"
}
