# Numbers of R's survival and cmprsk for the tables of data/, as JSON with all digits.
# Run: Rscript tests/cohort/r_reference/compute.R FOLDER_OF_TABLES RESULT.json
suppressPackageStartupMessages({library(survival); library(cmprsk)})

json <- function(x) {
  if (is.list(x)) {
    inside <- vapply(x, json, "")
    if (is.null(names(x))) return(paste0("[", paste(inside, collapse = ","), "]"))
    return(paste0("{", paste0("\"", names(x), "\": ", inside, collapse = ",\n"), "}"))
  }
  if (is.character(x)) return(paste0("\"", x, "\""))
  if (is.matrix(x)) return(paste0("[", paste(apply(x, 1, json), collapse = ","), "]"))
  paste0("[", paste(ifelse(is.finite(x), sprintf("%.17g", x), "null"), collapse = ","), "]")
}

curve <- function(fit, at) {
  told <- summary(fit, times = at, extend = TRUE)
  found <- quantile(fit, c(0.25, 0.5, 0.75))
  list(n_risk = told$n.risk, survival = told$surv, standard_error = told$std.err, lower = told$lower, upper = told$upper,
       quantile = unname(found$quantile), quantile_lower = unname(found$lower), quantile_upper = unname(found$upper))
}

difference <- function(fit) {
  sums <- function(x) if (is.matrix(x)) rowSums(x) else x
  list(observed = unname(sums(fit$obs)), expected = unname(sums(fit$exp)), covariance = unname(fit$var),
       statistic = fit$chisq, p_value = fit$pvalue)
}

model <- function(formula, d, ties) {
  # Steps as small as they can be; R warns that so small a tolerance means nothing.
  fit <- suppressWarnings(coxph(formula, d, ties = ties, control = coxph.control(eps = 1e-14, toler.chol = 1e-15, iter.max = 50)))
  zph <- function(how) unname(cox.zph(fit, how)$table[, "chisq"])
  list(coefficient = unname(coef(fit)), standard_error = unname(sqrt(diag(vcov(fit)))), log_likelihood = rev(fit$loglik),
       score = fit$score, wald = unname(fit$wald.test), concordance = unname(fit$concordance["concordance"]),
       covariance = unname(vcov(fit)), zph_km = zph("km"), zph_rank = zph("rank"), zph_identity = zph("identity"))
}

one <- function(path) {
  d <- read.csv(path)
  d$any <- as.integer(d$status > 0)
  causes <- sort(unique(d$status[d$status > 0]))
  at <- unique(c(unname(quantile(d$time, (0:10) / 10, type = 1)), mean(d$time)))
  at <- sort(at)
  km <- list()
  for (kind in c("log-log", "log", "plain"))
    km[[kind]] <- curve(survfit(Surv(time, any) ~ 1, d, conf.type = kind), at)
  by_group <- lapply(split(d, d$group), function(part)
    curve(survfit(Surv(time, any) ~ 1, part, conf.type = "log-log"), at))
  follow <- curve(survfit(Surv(time, 1 - any) ~ 1, d, conf.type = "log-log"), at)

  several <- survfit(Surv(time, factor(status, c(0, causes))) ~ 1, d, conf.type = "log-log")
  told <- summary(several, times = at, extend = TRUE)
  columns <- 1 + seq_along(causes)
  all <- cuminc(d$time, d$status)
  points <- timepoints(all, at)
  incidence <- list(causes = causes, estimate = unname(told$pstate[, columns]), delta_error = unname(told$std.err[, columns]),
                    delta_lower = unname(told$lower[, columns]), delta_upper = unname(told$upper[, columns]),
                    cuminc = unname(t(points$est)), aalen_variance = unname(t(points$var)))
  gray <- function(...) unname(cuminc(d$time, d$status, d$group, ...)$Tests)

  counts <- table(d$group, d$status > 0)
  small <- table(d$marker, d$status == 1)
  total <- sum(d$status == 1)
  exact <- binom.test(total, nrow(d), 0.3)
  ages <- split(d$age, d$marker)
  ranks <- suppressWarnings(wilcox.test(ages[[1]], ages[[2]]))
  chisq <- function(...) suppressWarnings(chisq.test(...))
  list(
    asked = at, km = km, by_group = by_group, follow_up = follow, incidence = incidence,
    gray = list(plain = gray(), stratified = gray(strata = d$stratum), rho = gray(rho = 1)),
    log_rank = list(plain = difference(survdiff(Surv(time, any) ~ group, d)),
                    stratified = difference(survdiff(Surv(time, any) ~ group + strata(stratum), d)),
                    rho = difference(survdiff(Surv(time, any) ~ group, d, rho = 1))),
    # Only the score test at 0 is read: groups that are apart in time have no finite coefficient.
    log_rank_binomial = suppressWarnings(coxph(Surv(time, any) ~ factor(group), d, ties = "breslow"))$score,
    cox = list(efron = model(Surv(time, any) ~ age + marker, d, "efron"),
               breslow = model(Surv(time, any) ~ age + marker, d, "breslow"),
               efron_strata = model(Surv(time, any) ~ age + marker + strata(stratum), d, "efron"),
               breslow_strata = model(Surv(time, any) ~ age + marker + strata(stratum), d, "breslow")),
    tables = list(chi_square = chisq(counts, correct = FALSE)$p.value,
                  chi_square_2 = chisq(small, correct = FALSE)$p.value,
                  chi_square_2_continuity = chisq(small, correct = TRUE)$p.value,
                  fisher = fisher.test(counts, workspace = 2e7)$p.value, fisher_2 = fisher.test(small)$p.value,
                  binomial = c(exact$p.value, exact$conf.int),
                  binomial_less = binom.test(total, nrow(d), 0.3, "less")$p.value),
    ranks = list(mann_whitney = c(unname(ranks$statistic), ranks$p.value),
                 kruskal = unname(c(kruskal.test(age ~ group, d)$statistic, kruskal.test(age ~ group, d)$p.value))))
}

asked <- commandArgs(trailingOnly = TRUE)
paths <- sort(list.files(asked[1], "[.]csv$", full.names = TRUE), method = "radix")
found <- lapply(paths, one)
names(found) <- sub("[.]csv$", "", basename(paths))
versions <- list(R = as.character(getRversion()), survival = as.character(packageVersion("survival")),
                 cmprsk = as.character(packageVersion("cmprsk")))
writeLines(json(list(versions = versions, tables = found)), asked[2])
