locals {
  karpenter_version = "1.9.2" # the first line that knows Kubernetes 1.35
}

module "karpenter" {
  source  = "terraform-aws-modules/eks/aws//modules/karpenter"
  version = "~> 20.37"

  cluster_name = module.eks.cluster_name
  namespace    = "karpenter"

  enable_v1_permissions           = true
  enable_pod_identity             = true
  create_pod_identity_association = true

  # What this version of Karpenter asks for and the module does not grant yet. Neither can be limited to a resource.
  iam_policy_statements = [
    {
      sid       = "AllowInstanceProfileList"
      actions   = ["iam:ListInstanceProfiles"]
      resources = ["*"]
    },
    {
      sid       = "AllowCapacityReservationRead"
      actions   = ["ec2:DescribeCapacityReservations"]
      resources = ["*"]
    },
  ]

  # k8s/karpenter/ec2nodeclass.yaml names it.
  node_iam_role_name            = "${var.name}-karpenter-node"
  node_iam_role_use_name_prefix = false
}

# Apart from the controller's chart, because Helm never renews what a chart brings in its folder `crds`.
resource "helm_release" "karpenter_crd" {
  name             = "karpenter-crd"
  namespace        = "karpenter"
  create_namespace = true
  repository       = "oci://public.ecr.aws/karpenter"
  chart            = "karpenter-crd"
  version          = local.karpenter_version

  depends_on = [module.eks]
}

resource "helm_release" "karpenter" {
  name       = "karpenter"
  namespace  = "karpenter"
  repository = "oci://public.ecr.aws/karpenter"
  chart      = "karpenter"
  version    = local.karpenter_version
  skip_crds  = true

  values = [yamlencode({
    nodeSelector = { "karpenter.sh/controller" = "true" }
    replicas     = 2
    # It must work before DNS does: the nodes for DNS may be its own.
    dnsPolicy = "Default"
    settings = {
      clusterName       = module.eks.cluster_name
      clusterEndpoint   = module.eks.cluster_endpoint
      interruptionQueue = module.karpenter.queue_name
    }
    controller = {
      # With hop limit 1 it cannot ask the node where it is.
      env       = [{ name = "AWS_REGION", value = var.region }]
      resources = { requests = { cpu = "500m", memory = "512Mi" }, limits = { memory = "512Mi" } }
    }
  })]

  # After the load balancer controller: its webhooks answer before this chart makes its Service, and in `destroy` they still
  # do when that Service goes.
  depends_on = [helm_release.karpenter_crd, helm_release.load_balancer_controller, module.karpenter]
}

# `kubectl apply -f k8s/karpenter/ec2nodeclass.yaml` is the operator's; git ignores the file.
resource "local_file" "ec2nodeclass" {
  filename        = "${path.module}/../k8s/karpenter/ec2nodeclass.yaml"
  file_permission = "0644"
  content = templatefile("${path.module}/templates/ec2nodeclass.yaml.tftpl", {
    name      = var.name
    role      = module.karpenter.node_iam_role_name
    ami_alias = var.ami_alias
  })
}
