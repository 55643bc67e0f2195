//! The tensors of a Whisper model, in the order they are written: what whisper.cpp calls each, its
//! shape, and where CTranslate2 keeps it. Conversion and check both go by this one list.

use super::hyper::{AUDIO_CONTEXT, Hyper, TEXT_CONTEXT};
use super::tensor::TensorType;

/// One tensor of a ggml file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tensor {
    pub(super) name: String,
    /// Outermost dimension first, the way CTranslate2 and safetensors write it; ggml files write it
    /// the other way round.
    pub(super) shape: Vec<u64>,
    pub(super) role: Role,
    pub(super) source: Source,
}

/// What a tensor is for, which decides how it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Biases, norms and positions: always f32.
    Exact,
    /// Convolutions: f16, or f32 in an f32 model.
    Kernel,
    /// The bulk of the weights: in the type of the model.
    Matrix,
}

/// A variable of the original model, or one of the equal parts it is fused from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Source {
    pub(super) variable: String,
    /// Which part along the outermost dimension, from 0.
    pub(super) part: u64,
    /// How many parts the variable has.
    pub(super) parts: u64,
}

impl Source {
    fn whole(variable: String) -> Source {
        Source { variable, part: 0, parts: 1 }
    }
}

impl Tensor {
    /// How it is stored in a model of this type.
    pub(super) fn stored(&self, weights: TensorType) -> TensorType {
        match self.role {
            Role::Exact => TensorType::F32,
            Role::Kernel if weights == TensorType::F32 => TensorType::F32,
            Role::Kernel => TensorType::F16,
            Role::Matrix => weights,
        }
    }

    /// The dimensions of the variable it comes from.
    pub(super) fn source_shape(&self) -> Vec<u64> {
        let mut shape = self.shape.clone();
        if shape.len() > 1 && shape.last() == Some(&1) {
            shape.pop();
        }
        shape[0] *= self.source.parts;
        shape
    }

    /// Its dimensions as ggml compares them: innermost first, filled up with ones.
    pub(super) fn ggml_shape(&self) -> [u64; 4] {
        let mut shape = [1; 4];
        for (to, from) in shape.iter_mut().zip(self.shape.iter().rev()) {
            *to = *from;
        }
        shape
    }
}

/// Every tensor of a model of this shape, in file order.
pub(super) fn tensors(hyper: &Hyper) -> Vec<Tensor> {
    let state = u64::from(hyper.state);
    let mut list = List { state, tensors: Vec::new() };
    let positions = [("encoder", AUDIO_CONTEXT), ("decoder", TEXT_CONTEXT)];
    for (side, length) in positions {
        list.push(
            format!("{side}.positional_embedding"),
            vec![u64::from(length), state],
            Role::Exact,
            Source::whole(format!("{side}/position_encodings/encodings")),
        );
    }
    for (i, inputs) in [(1, u64::from(hyper.mels)), (2, state)] {
        list.convolution(i, inputs);
    }
    list.norm("encoder.ln_post", "encoder/layer_norm");
    list.norm("decoder.ln", "decoder/layer_norm");
    list.push(
        "decoder.token_embedding.weight".to_owned(),
        vec![u64::from(hyper.vocabulary), state],
        Role::Matrix,
        Source::whole("decoder/embeddings/weight".to_owned()),
    );
    (0..hyper.encoder_layers).for_each(|i| list.encoder_layer(i));
    (0..hyper.decoder_layers).for_each(|i| list.decoder_layer(i));
    list.tensors
}

/// The biases of the keys: CTranslate2 keeps them because it fuses the keys with their neighbours,
/// Whisper has none, so they must be zero.
pub(super) fn key_biases(hyper: &Hyper) -> Vec<Source> {
    let encoder = (0..hyper.encoder_layers)
        .map(|i| (format!("encoder/layer_{i}/self_attention/linear_0"), 1, 3));
    let decoder = (0..hyper.decoder_layers).flat_map(|i| {
        [
            (format!("decoder/layer_{i}/self_attention/linear_0"), 1, 3),
            (format!("decoder/layer_{i}/attention/linear_1"), 0, 2),
        ]
    });
    encoder
        .chain(decoder)
        .map(|(linear, part, parts)| Source { variable: format!("{linear}/bias"), part, parts })
        .collect()
}

struct List {
    state: u64,
    tensors: Vec<Tensor>,
}

impl List {
    fn push(&mut self, name: String, shape: Vec<u64>, role: Role, source: Source) {
        self.tensors.push(Tensor { name, shape, role, source });
    }

    fn convolution(&mut self, i: u32, inputs: u64) {
        let (name, variable) = (format!("encoder.conv{i}"), format!("encoder/conv{i}"));
        self.push(
            format!("{name}.weight"),
            vec![self.state, inputs, 3],
            Role::Kernel,
            Source::whole(format!("{variable}/weight")),
        );
        self.push(
            format!("{name}.bias"),
            vec![self.state, 1],
            Role::Exact,
            Source::whole(format!("{variable}/bias")),
        );
    }

    fn norm(&mut self, name: &str, variable: &str) {
        for (ours, theirs) in [("weight", "gamma"), ("bias", "beta")] {
            self.push(
                format!("{name}.{ours}"),
                vec![self.state],
                Role::Exact,
                Source::whole(format!("{variable}/{theirs}")),
            );
        }
    }

    fn weight(&mut self, name: &str, rows: u64, columns: u64, linear: &Linear) {
        self.push(
            format!("{name}.weight"),
            vec![rows, columns],
            Role::Matrix,
            linear.source("weight"),
        );
    }

    fn linear(&mut self, name: &str, rows: u64, columns: u64, linear: &Linear) {
        self.weight(name, rows, columns, linear);
        self.push(format!("{name}.bias"), vec![rows], Role::Exact, linear.source("bias"));
    }

    fn encoder_layer(&mut self, i: u32) {
        let (name, variable) = (format!("encoder.blocks.{i}"), format!("encoder/layer_{i}"));
        self.self_attention(&name, &variable);
        self.feed_forward(&name, &variable);
    }

    fn decoder_layer(&mut self, i: u32) {
        let (name, variable) = (format!("decoder.blocks.{i}"), format!("decoder/layer_{i}"));
        self.self_attention(&name, &variable);
        self.cross_attention(&name, &variable);
        self.feed_forward(&name, &variable);
    }

    fn self_attention(&mut self, name: &str, variable: &str) {
        let state = self.state;
        let variable = format!("{variable}/self_attention");
        let fused = |part| Linear { variable: format!("{variable}/linear_0"), part, parts: 3 };
        self.linear(&format!("{name}.attn.query"), state, state, &fused(0));
        self.weight(&format!("{name}.attn.key"), state, state, &fused(1));
        self.linear(&format!("{name}.attn.value"), state, state, &fused(2));
        let out = Linear::whole(format!("{variable}/linear_1"));
        self.linear(&format!("{name}.attn.out"), state, state, &out);
        self.norm(&format!("{name}.attn_ln"), &format!("{variable}/layer_norm"));
    }

    fn cross_attention(&mut self, name: &str, variable: &str) {
        let state = self.state;
        let variable = format!("{variable}/attention");
        let query = Linear::whole(format!("{variable}/linear_0"));
        let fused = |part| Linear { variable: format!("{variable}/linear_1"), part, parts: 2 };
        let out = Linear::whole(format!("{variable}/linear_2"));
        self.linear(&format!("{name}.cross_attn.query"), state, state, &query);
        self.weight(&format!("{name}.cross_attn.key"), state, state, &fused(0));
        self.linear(&format!("{name}.cross_attn.value"), state, state, &fused(1));
        self.linear(&format!("{name}.cross_attn.out"), state, state, &out);
        self.norm(&format!("{name}.cross_attn_ln"), &format!("{variable}/layer_norm"));
    }

    fn feed_forward(&mut self, name: &str, variable: &str) {
        let (state, inner) = (self.state, 4 * self.state);
        let variable = format!("{variable}/ffn");
        let up = Linear::whole(format!("{variable}/linear_0"));
        let down = Linear::whole(format!("{variable}/linear_1"));
        self.linear(&format!("{name}.mlp.0"), inner, state, &up);
        self.linear(&format!("{name}.mlp.2"), state, inner, &down);
        self.norm(&format!("{name}.mlp_ln"), &format!("{variable}/layer_norm"));
    }
}

/// A linear layer of CTranslate2, or one of those fused into it.
struct Linear {
    variable: String,
    part: u64,
    parts: u64,
}

impl Linear {
    fn whole(variable: String) -> Linear {
        Linear { variable, part: 0, parts: 1 }
    }

    fn source(&self, of: &str) -> Source {
        Source { variable: format!("{}/{of}", self.variable), part: self.part, parts: self.parts }
    }
}
