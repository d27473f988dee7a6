module "eks" {
  source  = "terraform-aws-modules/eks/aws"
  version = "~> 20.37"

  cluster_name    = var.name
  cluster_version = var.kubernetes_version

  vpc_id     = module.vpc.vpc_id
  subnet_ids = module.vpc.private_subnets

  # Nodes use the private endpoint; the public one is for operators alone.
  cluster_endpoint_private_access      = true
  cluster_endpoint_public_access       = true
  cluster_endpoint_public_access_cidrs = var.operator_cidrs

  authentication_mode                      = "API"
  enable_cluster_creator_admin_permissions = true

  # Pods get their identity from the agent (EKS Pod Identity), so no OIDC provider is needed.
  enable_irsa = false

  create_kms_key            = true
  enable_kms_key_rotation   = true
  cluster_encryption_config = { resources = ["secrets"] }

  cluster_enabled_log_types              = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
  cloudwatch_log_group_retention_in_days = var.log_retention_days

  cluster_addons = {
    coredns                = {}
    kube-proxy             = {}
    eks-pod-identity-agent = { before_compute = true }
    vpc-cni = {
      before_compute = true
      # Without it, every NetworkPolicy exists and has no effect.
      configuration_values = jsonencode({ enableNetworkPolicy = "true" })
    }
    # Without it and its role no volume binds.
    aws-ebs-csi-driver = {
      pod_identity_association = [{
        role_arn        = module.ebs_csi_identity.iam_role_arn
        service_account = "ebs-csi-controller-sa"
      }]
    }
    # Without it no autoscaler knows a load.
    metrics-server = {}
  }

  node_security_group_additional_rules = {
    # The add-on's port; the module opens 4443 alone, where the community's metrics-server listens.
    ingress_cluster_metrics_server = {
      description                   = "Control plane to metrics-server"
      protocol                      = "tcp"
      from_port                     = 10251
      to_port                       = 10251
      type                          = "ingress"
      source_cluster_security_group = true
    }
  }
  # Exactly one group has it: Karpenter's nodes get the same one.
  node_security_group_tags = { "karpenter.sh/discovery" = var.name }

  eks_managed_node_groups = {
    system = {
      ami_type       = "AL2023_x86_64_STANDARD"
      instance_types = [var.system_nodes.instance_type]
      min_size       = var.system_nodes.min
      desired_size   = var.system_nodes.desired
      max_size       = var.system_nodes.max

      # Karpenter runs where Karpenter does not rule.
      labels = { "karpenter.sh/controller" = "true" }

      # Pods cannot borrow the node's identity.
      metadata_options = {
        http_endpoint               = "enabled"
        http_tokens                 = "required"
        http_put_response_hop_limit = 1
      }
      block_device_mappings = {
        root = {
          device_name = "/dev/xvda"
          ebs         = { volume_type = "gp3", volume_size = 30, encrypted = true, delete_on_termination = true }
        }
      }
      update_config = { max_unavailable = 1 }
    }
  }
}

module "ebs_csi_identity" {
  source  = "terraform-aws-modules/eks-pod-identity/aws"
  version = "~> 1.12"

  name                      = "${var.name}-ebs-csi"
  use_name_prefix           = false # with one, AWS takes no more than 38 letters
  attach_aws_ebs_csi_policy = true
}
