# Without an account: everything AWS would answer is made up by the test.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  # The documents' text is the provider's work; a policy has to be some JSON.
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
}

variables {
  name         = "device-statistics"
  cluster_name = "device-statistics"
  keep_days    = 35
}

run "the_bucket_is_closed_and_keeps_what_is_written_over" {
  command = plan

  assert {
    condition     = aws_s3_bucket.dumps.bucket == "device-statistics-backups-123456789012"
    error_message = "the account is part of the name"
  }
  assert {
    condition = alltrue([
      aws_s3_bucket_public_access_block.dumps.block_public_acls,
      aws_s3_bucket_public_access_block.dumps.block_public_policy,
      aws_s3_bucket_public_access_block.dumps.ignore_public_acls,
      aws_s3_bucket_public_access_block.dumps.restrict_public_buckets,
    ])
    error_message = "no dump is public"
  }
  assert {
    condition     = aws_s3_bucket_versioning.dumps.versioning_configuration[0].status == "Enabled"
    error_message = "a dump that is written over is kept"
  }
  assert {
    condition     = !aws_s3_bucket.dumps.force_destroy
    error_message = "destroy stops at a bucket that holds dumps"
  }
}

run "dumps_are_forgotten_in_time" {
  command = plan

  variables {
    keep_days = 90
  }

  assert {
    condition     = aws_s3_bucket_lifecycle_configuration.dumps.rule[0].expiration[0].days == 90
    error_message = "keep_days is what the bucket follows"
  }
}

run "the_cronjobs_account_may_write" {
  command = plan

  assert {
    condition = (
      aws_eks_pod_identity_association.writer.namespace == "device-statistics" &&
      aws_eks_pod_identity_association.writer.service_account == "backup"
    )
    error_message = "the service account of k8s/components/backup"
  }
}

run "it_may_not_delete" {
  command = plan

  assert {
    condition = length([
      for action in flatten([for each in data.aws_iam_policy_document.writer.statement : each.actions]) :
      action if strcontains(lower(action), "delete") || strcontains(action, "*")
    ]) == 0
    error_message = "whoever steals the identity cannot destroy a backup"
  }
}

run "a_week_is_the_least" {
  command = plan

  variables {
    keep_days = 6
  }

  expect_failures = [var.keep_days]
}

run "names_are_what_aws_takes" {
  command = plan

  variables {
    name = "Device_Statistics"
  }

  expect_failures = [var.name]
}
