# The dumps' bucket, and two identities that may add to it and read it, and can delete nothing: one for the dumps, one for
# the keys of personal data.
data "aws_caller_identity" "current" {}

locals {
  # By the service accounts of k8s/components/backup. Neither can read what the other one adds.
  writers = {
    backup = {
      prefix      = "dumps"
      description = "The backup CronJob's: adds dumps to the bucket."
    }
    backup-keyring = {
      prefix      = "keyring"
      description = "The backup-keyring CronJob's: adds the keys of personal data to the bucket."
    }
  }
}

resource "aws_s3_bucket" "dumps" {
  # Names of buckets are the whole world's: the account makes it ours.
  bucket        = "${var.name}-backups-${data.aws_caller_identity.current.account_id}"
  force_destroy = var.delete_on_destroy
}

resource "aws_s3_bucket_public_access_block" "dumps" {
  bucket = aws_s3_bucket.dumps.id

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "dumps" {
  bucket = aws_s3_bucket.dumps.id

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

# Dumps hold everything the database does.
resource "aws_s3_bucket_server_side_encryption_configuration" "dumps" {
  bucket = aws_s3_bucket.dumps.id

  rule {
    bucket_key_enabled = true

    apply_server_side_encryption_by_default {
      sse_algorithm = "aws:kms"
    }
  }
}

# A dump that is written over, by mistake or on purpose, is still there.
resource "aws_s3_bucket_versioning" "dumps" {
  bucket = aws_s3_bucket.dumps.id

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "dumps" {
  bucket = aws_s3_bucket.dumps.id

  rule {
    id     = "forget-old-dumps"
    status = "Enabled"

    filter {
      prefix = "dumps/"
    }

    expiration {
      days = var.keep_days
    }

    noncurrent_version_expiration {
      noncurrent_days = 7
    }
  }

  # One object, written over every hour. An older version of it opens the personal data of people who were erased since.
  rule {
    id     = "forget-old-keyrings"
    status = "Enabled"

    filter {
      prefix = "keyring/"
    }

    noncurrent_version_expiration {
      noncurrent_days = 1
    }
  }

  rule {
    id     = "abort-uploads-that-broke"
    status = "Enabled"

    filter {}

    abort_incomplete_multipart_upload {
      days_after_initiation = 2
    }
  }

  depends_on = [aws_s3_bucket_versioning.dumps]
}

data "aws_iam_policy_document" "encrypted_only" {
  statement {
    sid       = "RefusePlainText"
    effect    = "Deny"
    actions   = ["s3:*"]
    resources = [aws_s3_bucket.dumps.arn, "${aws_s3_bucket.dumps.arn}/*"]

    principals {
      type        = "*"
      identifiers = ["*"]
    }

    condition {
      test     = "Bool"
      variable = "aws:SecureTransport"
      values   = ["false"]
    }
  }
}

resource "aws_s3_bucket_policy" "dumps" {
  bucket = aws_s3_bucket.dumps.id
  policy = data.aws_iam_policy_document.encrypted_only.json

  depends_on = [aws_s3_bucket_public_access_block.dumps]
}

data "aws_iam_policy_document" "assumed_by_pods" {
  statement {
    actions = ["sts:AssumeRole", "sts:TagSession"]

    principals {
      type        = "Service"
      identifiers = ["pods.eks.amazonaws.com"]
    }
  }
}

data "aws_iam_policy_document" "writer" {
  for_each = local.writers

  statement {
    sid       = "SeeWhatIsThere"
    actions   = ["s3:ListBucket"]
    resources = [aws_s3_bucket.dumps.arn]
  }

  statement {
    sid       = "AddAndRead"
    actions   = ["s3:PutObject", "s3:GetObject", "s3:AbortMultipartUpload"]
    resources = ["${aws_s3_bucket.dumps.arn}/${each.value.prefix}/*"]
  }
}

resource "aws_iam_role" "writer" {
  for_each = local.writers

  name               = "${var.name}-${each.key}"
  description        = each.value.description
  assume_role_policy = data.aws_iam_policy_document.assumed_by_pods.json
}

resource "aws_iam_role_policy" "writer" {
  for_each = local.writers

  name   = each.value.prefix
  role   = aws_iam_role.writer[each.key].id
  policy = data.aws_iam_policy_document.writer[each.key].json
}

resource "aws_eks_pod_identity_association" "writer" {
  for_each = local.writers

  cluster_name    = var.cluster_name
  namespace       = var.namespace
  service_account = each.key
  role_arn        = aws_iam_role.writer[each.key].arn
}

# As they were named before there were two.
moved {
  from = aws_iam_role.writer
  to   = aws_iam_role.writer["backup"]
}

moved {
  from = aws_iam_role_policy.writer
  to   = aws_iam_role_policy.writer["backup"]
}

moved {
  from = aws_eks_pod_identity_association.writer
  to   = aws_eks_pod_identity_association.writer["backup"]
}
