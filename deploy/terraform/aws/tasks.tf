locals {
  environment = merge({
    NODE_ENV        = "production"
    PORT            = "4000"
    METRICS_PORT    = "9464"
    PUBLIC_BASE_URL = var.public_base_url
    STELLAR_NETWORK = "mainnet"
    LOG_LEVEL       = "info"
  }, var.environment)

  secrets = concat(
    [for name in var.secret_names : { name = name, valueFrom = "${var.secret_arn}:${name}::" }],
    [for name in ["DATABASE_URL", "REDIS_URL"] : {
      name      = name
      valueFrom = "${aws_secretsmanager_secret.servers.arn}:${name}::"
    }],
  )

  # What runs: its command, and where its health is asked.
  processes = {
    api     = { command = ["serve", "--no-jobs"], health = "http://127.0.0.1:4000/api/v1/health", cpu = 1024, memory = 2048 }
    worker  = { command = ["worker"], health = "http://127.0.0.1:9464/health", cpu = 1024, memory = 2048 }
    migrate = { command = ["migrate", "up"], health = null, cpu = 256, memory = 512 }
  }
}

resource "aws_security_group" "tasks" {
  name        = "${var.name}-tasks"
  description = "API, workers and migrations"
  vpc_id      = var.vpc_id
}

resource "aws_vpc_security_group_ingress_rule" "tasks" {
  security_group_id            = aws_security_group.tasks.id
  referenced_security_group_id = aws_security_group.balancer.id
  ip_protocol                  = "tcp"
  from_port                    = 4000
  to_port                      = 4000
}

resource "aws_vpc_security_group_egress_rule" "tasks" {
  security_group_id = aws_security_group.tasks.id
  cidr_ipv4         = "0.0.0.0/0"
  ip_protocol       = "-1"
}

resource "aws_cloudwatch_log_group" "main" {
  name              = "/ecs/${var.name}"
  retention_in_days = 90
}

data "aws_iam_policy_document" "assume" {
  statement {
    actions = ["sts:AssumeRole"]
    principals {
      type        = "Service"
      identifiers = ["ecs-tasks.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "start" {
  statement {
    actions   = ["secretsmanager:GetSecretValue"]
    resources = [var.secret_arn, aws_secretsmanager_secret.servers.arn]
  }
}

# What ECS needs to start a task. The task itself has no role: it asks nothing of AWS.
resource "aws_iam_role" "start" {
  name               = "${var.name}-start"
  assume_role_policy = data.aws_iam_policy_document.assume.json
}

resource "aws_iam_role_policy" "start" {
  name   = "secrets"
  role   = aws_iam_role.start.id
  policy = data.aws_iam_policy_document.start.json
}

resource "aws_iam_role_policy_attachment" "start" {
  role       = aws_iam_role.start.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AmazonECSTaskExecutionRolePolicy"
}

resource "aws_ecs_cluster" "main" {
  name = var.name

  setting {
    name  = "containerInsights"
    value = "enabled"
  }
}

resource "aws_ecs_task_definition" "main" {
  for_each                 = local.processes
  family                   = "${var.name}-${each.key}"
  requires_compatibilities = ["FARGATE"]
  network_mode             = "awsvpc"
  cpu                      = each.value.cpu
  memory                   = each.value.memory
  execution_role_arn       = aws_iam_role.start.arn

  volume {
    name = "tmp"
  }

  container_definitions = jsonencode([{
    name                   = "offerhub"
    image                  = var.image
    essential              = true
    command                = each.value.command
    user                   = "10001:10001"
    readonlyRootFilesystem = true
    # SHUTDOWN_SECONDS (20) and the ten seconds after which a process ends itself.
    stopTimeout  = 40
    environment  = [for name, value in local.environment : { name = name, value = value }]
    secrets      = local.secrets
    portMappings = each.key == "api" ? [{ containerPort = 4000, protocol = "tcp" }] : []
    mountPoints  = [{ sourceVolume = "tmp", containerPath = "/tmp", readOnly = false }]
    ulimits      = [{ name = "nofile", softLimit = 65536, hardLimit = 65536 }]
    healthCheck = each.value.health == null ? null : {
      command     = ["CMD", "python", "/opt/offerhub/healthcheck.py", each.value.health]
      interval    = 10
      timeout     = 5
      retries     = 3
      startPeriod = 60
    }
    logConfiguration = {
      logDriver = "awslogs"
      options = {
        awslogs-group         = aws_cloudwatch_log_group.main.name
        awslogs-region        = var.region
        awslogs-stream-prefix = each.key
      }
    }
  }])
}

resource "aws_ecs_service" "api" {
  name                               = "api"
  cluster                            = aws_ecs_cluster.main.id
  task_definition                    = aws_ecs_task_definition.main["api"].arn
  desired_count                      = var.api_tasks.min
  launch_type                        = "FARGATE"
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200
  health_check_grace_period_seconds  = 120
  enable_execute_command             = false

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets         = var.private_subnet_ids
    security_groups = [aws_security_group.tasks.id]
  }

  load_balancer {
    target_group_arn = aws_lb_target_group.api.arn
    container_name   = "offerhub"
    container_port   = 4000
  }

  lifecycle {
    # The autoscaler decides.
    ignore_changes = [desired_count]
  }

  depends_on = [aws_lb_listener.https, aws_secretsmanager_secret_version.servers]
}

resource "aws_ecs_service" "worker" {
  name                               = "worker"
  cluster                            = aws_ecs_cluster.main.id
  task_definition                    = aws_ecs_task_definition.main["worker"].arn
  desired_count                      = var.worker_tasks.min
  launch_type                        = "FARGATE"
  deployment_minimum_healthy_percent = 100
  deployment_maximum_percent         = 200

  deployment_circuit_breaker {
    enable   = true
    rollback = true
  }

  network_configuration {
    subnets         = var.private_subnet_ids
    security_groups = [aws_security_group.tasks.id]
  }

  lifecycle {
    ignore_changes = [desired_count]
  }

  depends_on = [aws_secretsmanager_secret_version.servers]
}

# The guide's threshold: more tasks above 70 % CPU.
resource "aws_appautoscaling_target" "main" {
  for_each           = { api = var.api_tasks, worker = var.worker_tasks }
  service_namespace  = "ecs"
  resource_id        = "service/${aws_ecs_cluster.main.name}/${each.key}"
  scalable_dimension = "ecs:service:DesiredCount"
  min_capacity       = each.value.min
  max_capacity       = each.value.max
  depends_on         = [aws_ecs_service.api, aws_ecs_service.worker]
}

resource "aws_appautoscaling_policy" "cpu" {
  for_each           = aws_appautoscaling_target.main
  name               = "cpu"
  policy_type        = "TargetTrackingScaling"
  service_namespace  = each.value.service_namespace
  resource_id        = each.value.resource_id
  scalable_dimension = each.value.scalable_dimension

  target_tracking_scaling_policy_configuration {
    target_value       = 70
    scale_in_cooldown  = 600
    scale_out_cooldown = 60
    predefined_metric_specification {
      predefined_metric_type = "ECSServiceAverageCPUUtilization"
    }
  }
}
