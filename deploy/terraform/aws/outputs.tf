output "address" {
  description = "Where the name in public_base_url has to point (an alias or CNAME)."
  value       = aws_lb.main.dns_name
}

output "migrate" {
  description = "Applies migrations before the services are changed; they would do it at their start as well."
  value = join(" ", [
    "aws ecs run-task --cluster ${aws_ecs_cluster.main.name} --launch-type FARGATE",
    "--task-definition ${aws_ecs_task_definition.main["migrate"].family}",
    "--network-configuration 'awsvpcConfiguration={subnets=[${join(",", var.private_subnet_ids)}],securityGroups=[${aws_security_group.tasks.id}]}'",
  ])
}
