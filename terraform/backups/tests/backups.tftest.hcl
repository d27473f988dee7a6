# Without an account: everything AWS would answer is made up by the test.
mock_provider "aws" {
  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  # The documents' text is the provider's work; a policy has to be some JSON.
  mock_data "aws_iam_policy_document" {
    defaults = { json = "{}" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/x" }
  }
  mock_resource "aws_s3_bucket" {
    defaults = { arn = "arn:aws:s3:::dumps-of-a-test" }
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

run "old_keys_are_forgotten_within_a_day_and_the_newest_never" {
  command = plan

  assert {
    condition = [
      for rule in aws_s3_bucket_lifecycle_configuration.dumps.rule : rule.noncurrent_version_expiration[0].noncurrent_days
      if rule.id == "forget-old-keyrings" && length(rule.expiration) == 0
    ] == [1]
    error_message = "an old keyring opens what was erased"
  }
}

run "the_cronjobs_accounts_may_write" {
  command = plan

  assert {
    condition = alltrue([
      for account in ["backup", "backup-keyring"] :
      aws_eks_pod_identity_association.writer[account].namespace == "device-statistics" &&
      aws_eks_pod_identity_association.writer[account].service_account == account
    ])
    error_message = "the service accounts of k8s/components/backup"
  }
}

run "they_may_not_delete" {
  command = plan

  assert {
    condition = length([
      for action in flatten([
        for document in data.aws_iam_policy_document.writer : [for each in document.statement : each.actions]
      ]) :
      action if strcontains(lower(action), "delete") || strcontains(action, "*")
    ]) == 0
    error_message = "whoever steals the identity cannot destroy a backup"
  }
}

run "neither_reads_what_the_other_one_adds" {
  command = apply

  assert {
    condition = {
      for account, document in data.aws_iam_policy_document.writer : account => [
        for each in flatten([for statement in document.statement : tolist(statement.resources)]) :
        each if strcontains(each, "/")
      ]
      } == {
      backup         = ["arn:aws:s3:::dumps-of-a-test/dumps/*"]
      backup-keyring = ["arn:aws:s3:::dumps-of-a-test/keyring/*"]
    }
    error_message = "the keys of personal data are apart from the personal data"
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
