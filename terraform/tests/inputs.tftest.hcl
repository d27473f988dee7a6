# Every value that cannot work is refused by name, before anything is built.
mock_provider "aws" {
  mock_data "aws_availability_zones" {
    defaults = { names = ["us-east-1a", "us-east-1b", "us-east-1c", "us-east-1d"] }
  }
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012", arn = "arn:aws:iam::123456789012:user/operator" }
  }
  mock_data "aws_iam_session_context" {
    defaults = { issuer_arn = "arn:aws:iam::123456789012:user/operator" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws", dns_suffix = "amazonaws.com" }
  }
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}
mock_provider "helm" {}
mock_provider "local" {}
mock_provider "tls" {}
mock_provider "time" {}
mock_provider "null" {}
mock_provider "cloudinit" {}

variables {
  operator_cidrs = ["198.18.7.9/32"]
}

run "nobody_may_reach_the_api" {
  command = plan
  variables { operator_cidrs = [] }
  expect_failures = [var.operator_cidrs]
}

run "the_whole_world" {
  command = plan
  variables { operator_cidrs = ["198.18.7.9/32", "0.0.0.0/0"] }
  expect_failures = [var.operator_cidrs]
}

run "half_of_the_world" {
  command = plan
  variables { operator_cidrs = ["128.0.0.0/1"] }
  expect_failures = [var.operator_cidrs]
}

run "the_address_of_the_example" {
  command = plan
  variables { operator_cidrs = ["203.0.113.7/32"] }
  expect_failures = [var.operator_cidrs]
}

run "an_address_without_a_prefix" {
  command = plan
  variables { operator_cidrs = ["198.18.7.9"] }
  expect_failures = [var.operator_cidrs]
}

run "a_region_that_is_a_zone" {
  command = plan
  variables { region = "us-east-1a" }
  expect_failures = [var.region]
}

run "a_name_that_iam_would_refuse" {
  command = plan
  variables { name = "a-name-of-twenty-nine-letters" }
  expect_failures = [var.name]
}

run "an_environment_of_somebody_else" {
  command = plan
  variables { environment = "prod" }
  expect_failures = [var.environment]
}

run "a_version_that_nobody_tried" {
  command = plan
  variables { kubernetes_version = "1.31" }
  expect_failures = [var.kubernetes_version]
}

run "a_vpc_that_is_too_small" {
  command = plan
  variables { vpc_cidr = "10.0.0.0/24" }
  expect_failures = [var.vpc_cidr]
}

run "two_zones" {
  command = plan
  variables { private_subnets = ["10.0.0.0/20", "10.0.16.0/20"] }
  expect_failures = [var.private_subnets]
}

run "a_subnet_outside" {
  command = plan
  variables { public_subnets = ["10.0.48.0/24", "10.0.49.0/24", "10.1.50.0/24"] }
  expect_failures = [var.public_subnets]
}

run "one_system_node" {
  command = plan
  variables { system_nodes = { instance_type = "m6i.large", min = 1, desired = 2, max = 3 } }
  expect_failures = [var.system_nodes]
}

run "more_nodes_than_there_may_be" {
  command = plan
  variables { system_nodes = { instance_type = "m6i.large", min = 2, desired = 4, max = 3 } }
  expect_failures = [var.system_nodes]
}

run "an_image_that_changes_by_itself" {
  command = plan
  variables { ami_alias = "al2023@latest" }
  expect_failures = [var.ami_alias]
}

run "logs_for_a_week_and_a_day" {
  command = plan
  variables { log_retention_days = 8 }
  expect_failures = [var.log_retention_days]
}

run "backups_for_a_day" {
  command = plan
  variables { backup_days = 1 }
  expect_failures = [var.backup_days]
}

run "a_tag_of_aws" {
  command = plan
  variables { tags = { "aws:owner" = "me" } }
  expect_failures = [var.tags]
}
