module "load_balancer_controller_identity" {
  source  = "terraform-aws-modules/eks-pod-identity/aws"
  version = "~> 1.12"

  name                            = "${var.name}-load-balancer-controller"
  use_name_prefix                 = false
  attach_aws_lb_controller_policy = true

  associations = {
    controller = {
      cluster_name    = module.eks.cluster_name
      namespace       = "kube-system"
      service_account = "aws-load-balancer-controller"
    }
  }
}

# Makes an ALB for each Ingress. `terraform destroy` removes this controller: delete the Ingress first, or its ALB stays.
resource "helm_release" "load_balancer_controller" {
  name       = "aws-load-balancer-controller"
  namespace  = "kube-system"
  repository = "https://aws.github.io/eks-charts"
  chart      = "aws-load-balancer-controller"
  version    = "1.17.1"

  values = [yamlencode({
    clusterName = module.eks.cluster_name
    # With hop limit 1 it cannot ask the node for these two.
    region = var.region
    vpcId  = module.vpc.vpc_id

    # It would refuse every new Service of the cluster while no controller runs, and none of ours is of type LoadBalancer.
    enableServiceMutatorWebhook = false

    serviceAccount = { create = true, name = "aws-load-balancer-controller" }
    nodeSelector   = { "karpenter.sh/controller" = "true" }
    replicaCount   = 2
  })]

  depends_on = [module.eks, module.load_balancer_controller_identity]
}
