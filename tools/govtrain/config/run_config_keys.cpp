// The keys. Order here is the order of documentation.
#include "routing/granularity.h"
#include "tools/govtrain/base/device.h"
#include "tools/govtrain/config/run_config.h"

namespace govtrain {
namespace {

void describe_run(Schema& s, RunConfig& c) {
  s.section("run", "What the run is called, where it writes, on what it computes.");
  s.text("run.name", c.run.name, {.doc = "Name of the run, in the log and in reports."});
  s.text("run.out", c.run.out,
         {.doc = "Folder of the run: checkpoints, log, metrics.",
          .required = true,
          .path = true,
          .also_called = {"output", "output_dir", "out_dir"}});
  s.integer("run.seed", c.run.seed, {.doc = "Seed of every random stream.", .min = 0});
  s.integer("run.threads", c.run.threads,
            {.doc = "Threads; 0 takes all CPUs of this process. Does not change the result.",
             .min = 0,
             .max = 1024,
             .also_called = {"workers", "num_threads"}});
  s.text("run.device", c.run.device,
         {.doc = "Device to compute on; auto is cuda where there is a device, else cpu.",
          .choices = device_names(),
          .choices_meant = {{"gpu", "cuda"}}});
  s.text("run.precision", c.run.precision,
         {.doc = "Operands of matrix products on a CUDA device: float32, or rounded to tf32 or bfloat16 for its tensor "
                 "cores; all else is float32. The CPU has fp32 only.",
          .choices = precision_names()});
  s.text(
      "run.determinism", c.run.determinism,
      {.doc = "strict: an example's bits do not depend on the batch; fast: plain products by the libraries of a CUDA "
              "device, whose bits may. The CPU has strict only.",
       .choices = determinism_names()});
  s.text(
      "run.resume", c.run.resume,
      {.doc =
           "never starts anew and refuses a folder that holds a run; auto continues the newest checkpoint in run.out "
           "if there is one; otherwise the checkpoint folder to continue."});
}

void describe_data(Schema& s, RunConfig& c) {
  s.section("data", "The corpus and how it becomes examples.");
  s.texts("data.inputs", c.data.inputs,
          {.doc = "Text and JSONL files, or folders of them.",
           .required = true,
           .path = true,
           .also_called = {"files", "path", "dataset"}});
  s.text("data.cache", c.data.cache,
         {.doc = "Folder for prepared data, keyed by inputs, tokenizer and options.", .required = true, .path = true});
  s.text("data.tokenizer.kind", c.data.tokenizer.kind,
         {.doc = "bytes has one token per byte; sentencepiece trains a BPE vocabulary on the training text.",
          .choices = {"bytes", "sentencepiece"}});
  s.integer("data.tokenizer.vocab_size", c.data.tokenizer.vocab_size,
            {.doc = "Size of the vocabulary of sentencepiece; bytes ignores it.", .unit = "tokens", .min = 1});
  s.integer("data.context", c.data.context,
            {.doc = "Longest example; longer documents become several examples.",
             .unit = "tokens",
             .min = 1,
             .max = 1 << 20,
             .also_called = {"context_length", "block_size", "max_seq_len"}});
  s.number("data.validation_fraction", c.data.validation_fraction,
           {.doc = "Share of the documents held out, chosen by content hash.", .min = 0, .max = 0.5});
  s.integer("data.min_chars", c.data.min_chars,
            {.doc = "Shorter documents are left out.", .unit = "characters", .min = 1});
}

void describe_model(Schema& s, RunConfig& c) {
  auto& m = c.model;
  s.section("model", "The network.");
  s.text("model.kind", m.kind, {.doc = "Architecture.", .choices = {"transformer"}});
  s.integer("model.layers", m.layers,
            {.doc = "Transformer layers.",
             .min = 1,
             .max = 1024,
             .required = true,
             .also_called = {"n_layer", "num_layers"}});
  s.integer("model.width", m.width,
            {.doc = "Width of the residual stream.",
             .min = 1,
             .max = 1 << 20,
             .required = true,
             .also_called = {"n_embd", "hidden_size", "d_model", "dim"}});
  s.integer("model.heads", m.heads,
            {.doc = "Attention heads; must divide width.",
             .min = 1,
             .max = 1024,
             .required = true,
             .also_called = {"n_head", "num_heads"}});
  s.integer("model.kv_heads", m.kv_heads,
            {.doc = "Heads of keys and values; must divide heads; 0 takes as many as heads.", .min = 0, .max = 1024});
  s.text("model.mlp", m.mlp,
         {.doc = "Activation of the MLP; swiglu and geglu have a gate.",
          .choices = {"gelu", "silu", "swiglu", "geglu"},
          .also_called = {"activation"}});
  s.integer("model.mlp_width", m.mlp_width,
            {.doc = "Width inside the MLP; 0 takes 4 * width, or 8/3 * width rounded up to 32 with a gate.",
             .min = 0,
             .max = 1 << 20,
             .also_called = {"intermediate_size", "ffn_dim"}});
  s.text("model.norm", m.norm, {.doc = "Normalisation before each branch.", .choices = {"layernorm", "rmsnorm"}});
  s.number("model.norm_eps", m.norm_eps, {.doc = "Added to the variance.", .min = 0, .max = 1, .exclusive_min = true});
  s.text("model.positions", m.positions,
         {.doc = "Positions: a learned table, or rotary.", .choices = {"learned", "rope"}});
  s.number("model.rope_base", m.rope_base, {.doc = "Base of the rotary frequencies.", .min = 1, .exclusive_min = true});
  s.boolean("model.tied_head", m.tied_head,
            {.doc = "The output projection is the embedding table.", .also_called = {"tie_word_embeddings"}});
  s.boolean("model.bias", m.bias, {.doc = "Biases on projections and layer norms."});
  s.number("model.dropout", m.dropout, {.doc = "Dropout after the embedding and each branch.", .min = 0, .max = 0.95});
}

void describe_blocks(Schema& s, RunConfig& c) {
  auto& b = c.blocks;
  s.section("blocks", "Into which parts the model is divided that an example may teach or not.");
  s.text("blocks.by", b.by,
         {.doc = "Granularity; what each block owns is printed by 'govtrain blocks show'.",
          .choices = granularity_names(),
          .also_called = {"granularity"}});
  s.integer("blocks.group_layers", b.group_layers,
            {.doc = "group: layers in one block; the last block may have fewer.", .min = 1, .max = 1024});
  s.integer("blocks.ranges", b.ranges,
            {.doc = "channels: blocks into which each layer's MLP is divided, by its hidden channels.",
             .min = 1,
             .max = 1 << 20});
  s.texts("blocks.shares", b.shares,
          {.doc = "position: names and shares of the layers, from the input to the output: [shallow 50%, deep 50%]."});
  s.text("blocks.file", b.file,
         {.doc = "selectors: the file that lists the blocks. learned: the file that 'govtrain blocks learn' made.",
          .path = true});
}

void describe_policy(Schema& s, RunConfig& c) {
  s.section("policy", "Which example may teach which part of the model.");
  s.text("policy.file", c.policy.file, {.doc = "The policy; required unless train.routing is false.", .path = true});
  s.text(
      "policy.date", c.policy.date,
      {.doc = "Day (YYYY-MM-DD) that licence windows are judged by; empty takes the day of the first start, which the "
              "log then fixes for every resume."});
  s.text("policy.classification", c.policy.classification,
         {.doc = "Where classes come from: a file that lists label files, rules and classifiers "
                 "(docs/classification.md); empty takes the metadata key 'class'.",
          .path = true,
          .also_called = {"classes", "classifier", "labels"}});
  s.text("policy.clock", c.policy.clock,
         {.doc = "How the day goes on while training: fixed stands still, wall follows the date (UTC), simulated moves "
                 "one day every policy.steps_per_day steps; auto is fixed when policy.date is given, else wall.",
          .choices = {"auto", "fixed", "wall", "simulated"}});
  s.integer("policy.steps_per_day", c.policy.steps_per_day,
            {.doc = "Steps of a day of the simulated clock.", .unit = "steps", .min = 0});
  s.text("policy.revocations", c.policy.revocations,
         {.doc = "Revocation list, read again before every step when it has changed; what it names is kept out from "
                 "then on.",
          .path = true});
  s.boolean("policy.watch", c.policy.watch,
            {.doc = "Reads the policy again before every step when it has changed; a valid newer version takes effect "
                    "at the next step."});
  s.text(
      "policy.reference", c.policy.reference,
      {.doc = "Folder of the frozen model that a policy with 'entropy: {reference: frozen}' measures surprisal with: "
              "a checkpoint with the same tokenizer, of any size.",
       .path = true});
}

void describe_routing(Schema& s, RunConfig& c) {
  s.section("routing", "How the policy's weights act on the gradients.");
  s.text("routing.withheld", c.routing.withheld,
         {.doc = "What becomes of the gradients that are not admitted: not kept (discard), fed to an inert optimizer "
                 "of their own (quarantine), or summed into pending updates that wait for 'govtrain review' (shadow). "
                 "Never changes the model.",
          .choices = {"discard", "quarantine", "shadow"}});
  s.integer(
      "routing.shadow.every", c.routing.shadow.every,
      {.doc = "Steps whose withheld gradients make up one pending update.", .unit = "steps", .min = 1, .max = 1 << 24});
  s.texts(
      "routing.technique", c.routing.technique,
      {.doc = "What a weight multiplies in the backward pass: the block's parameter gradients (scale), the gradient "
              "at its output, so that it compounds downwards (boundary), the gradient into its residual branches "
              "(residual_gate), or that of queries, keys and values (attention_gate). Several multiply.",
       .choices = {"scale", "boundary", "residual_gate", "attention_gate"}});
  s.text(
      "routing.enforcement", c.routing.enforcement,
      {.doc = "Where the weights are enforced: on each example's contribution as it is added (backward), on sums over "
              "examples of one profile before the step (optimizer), or in the loss, by terms with stop-gradients "
              "(loss). The same gradients but for rounding; backward costs least.",
       .choices = {"backward", "optimizer", "loss"}});
  s.boolean("routing.skip", c.routing.skip,
            {.doc = "Leaves out work for what nobody is admitted to: backward passes below the lowest admitted block, "
                    "activations, whole examples. false computes it all. Does not change the result."});
  s.boolean("routing.forward_excluded", c.routing.forward_excluded,
            {.doc = "Computes the loss of examples that may teach no block, so that reported training losses cover "
                    "them. Does not change what is learnt."});
}

void describe_optim(Schema& s, RunConfig& c) {
  auto& o = c.optim;
  s.section("optim", "The optimizer, by its published rule, on the routed gradient.");
  s.text("optim.kind", o.kind,
         {.doc = "Update rule.", .choices = {"adamw", "adam", "sgd"}, .also_called = {"optimizer"}});
  s.number("optim.lr", o.lr,
           {.doc = "Learning rate after the warm-up.",
            .min = 0,
            .exclusive_min = true,
            .also_called = {"learning_rate", "max_lr"}});
  s.numbers("optim.betas", o.betas, {.doc = "Decay of the two moments of adam and adamw.", .min = 0, .max = 1});
  s.number("optim.eps", o.eps, {.doc = "Added to the denominator of adam and adamw.", .min = 0, .exclusive_min = true});
  s.number("optim.weight_decay", o.weight_decay,
           {.doc = "Decay of matrices; gains and biases do not decay.", .min = 0, .also_called = {"wd"}});
  s.number("optim.momentum", o.momentum, {.doc = "Momentum of sgd.", .min = 0, .max = 1});
  s.boolean("optim.nesterov", o.nesterov, {.doc = "Nesterov's form of the momentum of sgd."});
  s.integer("optim.warmup_steps", o.warmup_steps,
            {.doc = "Steps in which the learning rate rises linearly.",
             .unit = "steps",
             .min = 0,
             .also_called = {"warmup"}});
  s.text("optim.schedule", o.schedule,
         {.doc = "Learning rate after the warm-up.",
          .choices = {"constant", "linear", "cosine"},
          .also_called = {"lr_scheduler"}});
  s.number("optim.min_lr", o.min_lr, {.doc = "Learning rate at the last step of linear and cosine.", .min = 0});
  s.number("optim.clip", o.clip,
           {.doc = "Largest L2 norm of the gradient of a block; 0 does not clip.",
            .min = 0,
            .also_called = {"grad_clip", "max_grad_norm"}});
  s.text("optim.untouched", o.untouched,
         {.doc = "A block to which nothing was admitted in a step keeps its values (skip), "
                 "or moves by momentum and decay (step).",
          .choices = {"skip", "step"}});
}

void describe_train(Schema& s, RunConfig& c) {
  s.section("train", "How long, and in what portions.");
  s.integer("train.steps", c.train.steps,
            {.doc = "Optimizer steps.",
             .unit = "steps",
             .min = 1,
             .required = true,
             .also_called = {"max_steps", "iterations"}});
  s.integer("train.tokens_per_step", c.train.tokens_per_step,
            {.doc = "Most tokens of a step; whole examples are taken while they fit.",
             .unit = "tokens",
             .min = 1,
             .max = 1 << 30,
             .also_called = {"batch_size", "batch_tokens"}});
  s.integer(
      "train.micro_batch_tokens", c.train.micro_batch_tokens,
      {.doc = "Computes a step in portions of at most this many tokens, to save memory; 0 computes it at once. Does "
              "not change the result.",
       .unit = "tokens",
       .min = 0,
       .max = 1 << 30,
       .also_called = {"micro_batch_size"}});
  s.number("train.max_minutes", c.train.max_minutes,
           {.doc = "Stops and saves after this time; 0 is no limit.", .unit = "minutes", .min = 0});
  s.boolean("train.routing", c.train.routing, {.doc = "false trains without policy, routing and log, for comparison."});
  s.section("eval", "Validation while training.");
  s.integer("eval.every", c.eval.every,
            {.doc = "Steps between validations; 0 validates at the end only.", .unit = "steps", .min = 0});
  s.integer("eval.max_tokens", c.eval.max_tokens,
            {.doc = "Most tokens of a validation; 0 takes all.", .unit = "tokens", .min = 0});
  s.section("sample", "Text that the model writes while training.");
  s.integer("sample.every", c.sample.every,
            {.doc = "Steps between samples; 0 never samples.", .unit = "steps", .min = 0});
  s.texts("sample.prompts", c.sample.prompts, {.doc = "Beginnings to continue."});
  s.integer("sample.tokens", c.sample.tokens,
            {.doc = "Tokens to write after each prompt.", .unit = "tokens", .min = 1, .max = 1 << 20});
  s.number("sample.temperature", c.sample.temperature,
           {.doc = "0 always takes the most probable token.", .min = 0, .max = 100});
  s.integer("sample.top_k", c.sample.top_k, {.doc = "Draws from the k most probable tokens; 0 from all.", .min = 0});
}

void describe_probe(Schema& s, RunConfig& c) {
  auto& p = c.probe;
  s.section("probe",
            "Measures of the representations on a fixed set of texts, for policies that adapt or look at them.");
  s.integer(
      "probe.examples", p.examples,
      {.doc = "Texts in the probe set, at least 2; 0 measures nothing.", .unit = "examples", .min = 0, .max = 4096});
  s.text("probe.file", p.file,
         {.doc = "Texts of your own, one per line; empty takes validation documents that the policy admits to every "
                 "block.",
          .path = true});
  s.integer("probe.every", p.every,
            {.doc = "Steps between measurements; the first one is before the first step.", .unit = "steps", .min = 1});
  s.number(
      "probe.alpha", p.alpha,
      {.doc = "Order of the matrix-based entropy; 1 is von Neumann's.", .min = 0, .max = 100, .exclusive_min = true});
  s.integer(
      "probe.reference_step", p.reference_step,
      {.doc = "Drift is measured against the first measurement after this many steps.", .unit = "steps", .min = 0});
  s.integer("probe.loss_window", p.loss_window,
            {.doc = "Steps in each of the two windows that the progress of the training loss compares.",
             .unit = "steps",
             .min = 1,
             .max = 1000000});
  s.section("adaptation", "Profiles that change while training (see the policy's sections adaptation and controller).");
  s.text("adaptation.replay", c.adaptation.replay,
         {.doc = "A run or log whose recorded changes are applied at the same steps, in place of deciding anew.",
          .path = true});
}

void describe_output(Schema& s, RunConfig& c) {
  s.section("save", "Checkpoints. One is always written at the end and on the first Ctrl-C.");
  s.integer("save.every", c.save.every, {.doc = "Steps between checkpoints; 0 is off.", .unit = "steps", .min = 0});
  s.number("save.every_minutes", c.save.every_minutes,
           {.doc = "Minutes between checkpoints; 0 is off.", .unit = "minutes", .min = 0});
  s.integer("save.keep_last", c.save.keep_last, {.doc = "Newest checkpoints that are kept.", .min = 1});
  s.integer("save.keep_every", c.save.keep_every,
            {.doc = "Checkpoints at multiples of this many steps are never deleted; "
                    "0 is off.",
             .unit = "steps",
             .min = 0});
  s.section("log", "What a run shows and writes about itself.");
  s.number("log.every_seconds", c.log.every_seconds,
           {.doc = "Time between progress lines where there is no live line.", .unit = "seconds", .min = 0});
  s.boolean("log.tensorboard", c.log.tensorboard, {.doc = "Writes TensorBoard event files beside metrics.jsonl."});
  s.text("log.progress", c.log.progress,
         {.doc = "auto is a live line (bar) on a terminal and plain lines elsewhere.",
          .choices = {"auto", "bar", "plain", "json", "none"}});
  s.section("lineage", "The append-only log of what taught what.");
  s.boolean("lineage.enabled", c.lineage.enabled, {.doc = "Writes the log; only runs for comparison do without."});
  s.text("lineage.key", c.lineage.key,
         {.doc = "Signing key; empty makes <run.name>.key beside the run folder, readable by "
                 "its owner only.",
          .path = true});
  s.text("lineage.origin", c.lineage.origin,
         {.doc = "Name of the log in its signed checkpoints, without spaces or '+'; "
                 "empty takes govtrain.local/<run.name>."});
  s.integer("lineage.flush_records", c.lineage.flush_records,
            {.doc = "The log is made durable and signed after at most this many records.",
             .unit = "records",
             .min = 1,
             .max = 1 << 24});
  s.boolean("lineage.norms", c.lineage.norms, {.doc = "Records what each example really contributed to each block."});
}

}  // namespace

void describe(Schema& schema, RunConfig& config) {
  describe_run(schema, config);
  describe_data(schema, config);
  describe_model(schema, config);
  describe_blocks(schema, config);
  describe_policy(schema, config);
  describe_routing(schema, config);
  describe_optim(schema, config);
  describe_train(schema, config);
  describe_probe(schema, config);
  describe_output(schema, config);
}

}  // namespace govtrain
