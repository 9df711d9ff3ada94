output "address" {
  description = "Cloud Run's own address; a load balancer or a domain mapping brings the name in public_base_url to it."
  value       = google_cloud_run_v2_service.api.uri
}

output "migrate" {
  description = "Applies migrations before the services are changed; they would do it at their start as well."
  value       = "gcloud run jobs execute ${google_cloud_run_v2_job.migrate.name} --region ${var.region} --wait"
}
