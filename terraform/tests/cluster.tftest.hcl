# What a plan promises, with everything that AWS would answer made up.
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

run "production_has_a_way_out_of_each_zone" {
  command = plan

  assert {
    condition     = length(module.vpc.natgw_ids) == 3
    error_message = "one NAT gateway for each zone"
  }
}

run "staging_has_one" {
  command = plan

  variables {
    environment = "staging"
  }

  assert {
    condition     = length(module.vpc.natgw_ids) == 1
    error_message = "one NAT gateway"
  }
}

run "it_is_the_cluster_of_the_documents" {
  command = plan

  assert {
    condition     = output.cluster_name == "device-statistics" && output.cluster_version == "1.35"
    error_message = "device-statistics, Kubernetes 1.35"
  }
  assert {
    condition     = output.configure_kubectl == "aws eks update-kubeconfig --region us-east-1 --name device-statistics"
    error_message = "the documents' own command"
  }
}

run "pods_find_their_policies_enforced_and_their_load_known" {
  command = plan

  assert {
    condition     = jsondecode(module.eks.cluster_addons["vpc-cni"].configuration_values).enableNetworkPolicy == "true"
    error_message = "without it every NetworkPolicy is there and stops nobody"
  }
  assert {
    condition     = toset(keys(module.eks.cluster_addons)) == toset(["aws-ebs-csi-driver", "coredns", "eks-pod-identity-agent", "kube-proxy", "metrics-server", "vpc-cni"])
    error_message = "the add-ons that the manifests rely on"
  }
}

run "the_longest_name_fits_everywhere" {
  command = plan

  variables {
    name = "a-name-of-28-letters-in-full"
  }

  assert {
    condition     = output.cluster_name == "a-name-of-28-letters-in-full"
    error_message = "no role's name is too long"
  }
}
