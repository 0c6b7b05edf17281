//! Clients of others are compiled against the protocols: what they say of the wire is pinned.

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet, ServiceDescriptorProto,
};

use super::DESCRIPTORS;

fn field(message: &DescriptorProto, field: &FieldDescriptorProto) -> String {
    let type_ = match field.type_name() {
        "" => format!("{:?}", field.r#type()).to_lowercase(),
        name => name.trim_start_matches('.').to_owned(),
    };
    let presence = match (field.label(), field.oneof_index) {
        (Label::Repeated, _) => "repeated ".to_owned(),
        _ if field.proto3_optional() => "optional ".to_owned(),
        (_, Some(at)) => format!("oneof {} ", message.oneof_decl[at as usize].name()),
        _ => String::new(),
    };
    assert_ne!(field.r#type(), Type::Group, "{}", field.name());
    format!("  {} {} {presence}{type_}", field.number(), field.name())
}

fn message(lines: &mut Vec<String>, message: &DescriptorProto) {
    assert!(
        message.nested_type.is_empty() && message.enum_type.is_empty(),
        "say it beside {}",
        message.name()
    );
    lines.push(format!("message {}", message.name()));
    lines.extend(message.field.iter().map(|one| field(message, one)));
}

fn choice(lines: &mut Vec<String>, choice: &EnumDescriptorProto) {
    lines.push(format!("enum {}", choice.name()));
    lines.extend(choice.value.iter().map(|value| format!("  {} {}", value.number(), value.name())));
}

fn service(lines: &mut Vec<String>, package: &str, service: &ServiceDescriptorProto) {
    lines.push(format!("service {package}.{}", service.name()));
    let stream = |streams| if streams { "stream " } else { "" };
    lines.extend(service.method.iter().map(|method| {
        let (from, to) = (stream(method.client_streaming()), stream(method.server_streaming()));
        format!("  {}({from}{}) {to}{}", method.name(), method.input_type(), method.output_type())
    }));
}

/// Whoever renumbers, retypes, renames or removes something breaks clients that are out there; only additions are fine.
#[test]
fn the_protocols_are_the_golden_ones() {
    let files = FileDescriptorSet::decode(DESCRIPTORS).unwrap().file;
    let ours = files.iter().filter(|file| file.package().starts_with("rescind."));
    let mut lines = Vec::new();
    for file in ours {
        lines.push(format!("file {}", file.name()));
        file.service.iter().for_each(|one| service(&mut lines, file.package(), one));
        file.message_type.iter().for_each(|one| message(&mut lines, one));
        file.enum_type.iter().for_each(|one| choice(&mut lines, one));
    }
    insta::assert_snapshot!(lines.join("\n"));
}
