"""What is rendered: floor, lights, camera and objects; runs inside Blender."""

# pyright: reportMissingImports=false, reportOptionalMemberAccess=false
import os

import bpy
from mathutils import Matrix, Vector

# The colours and file names of CLEVR (clevr-dataset-gen, image_generation/data/properties.json).
COLORS = {
    "gray": (87, 87, 87),
    "red": (173, 35, 35),
    "blue": (42, 75, 215),
    "green": (29, 105, 20),
    "brown": (129, 74, 25),
    "purple": (129, 38, 192),
    "cyan": (41, 208, 208),
    "yellow": (255, 238, 51),
}
CLEVR_SHAPES = {"cube": "SmoothCube_v2", "sphere": "Sphere", "cylinder": "SmoothCylinder"}
CLEVR_MATERIALS = {"rubber": "Rubber", "metal": "MyMetal"}
LIGHTS = {
    # name: place, watts, metres a side, colour
    "key": ((6.45, -2.9, 5.2), 380.0, 0.5, (1.0, 0.93, 0.82)),
    "fill": ((-4.7, -5.0, 4.0), 60.0, 0.7, (0.8, 0.87, 1.0)),
    "back": ((-1.2, 4.6, 5.8), 110.0, 0.7, (1.0, 1.0, 1.0)),
}
SUN = ((11.7, -6.6, 25.8), 1.1, 0.12)  # where from, watts a square metre, width in radians; lights the far floor too
FLOOR = (0.47, 0.465, 0.46)
WORLD = (0.30, 0.30, 0.30)
SKY = (0.291, 0.288, 0.285)  # as bright as the floor far away, so that low cameras see no horizon
CLEVR_LAMPS = {"key": "Lamp_Key", "fill": "Lamp_Fill", "back": "Lamp_Back"}
CORNER_ROUNDING = 0.08


class Stage:
    """Where objects are put: a scene of Blender with its camera, its lights, and the meshes of the objects."""

    def __init__(self, scene, camera, lights, meshes):
        self.scene, self.camera, self.lights, self._meshes = scene, camera, lights, meshes
        self.places = {name: light.location.copy() for name, light in lights.items()}
        self._materials = {}

    def add(self, item):
        """An object of a specification; it shares its mesh with others, but not its colour."""
        thing = bpy.data.objects.new(item["shape"], self._meshes[item["shape"]])
        self.scene.collection.objects.link(thing)
        if not thing.data.materials:
            thing.data.materials.append(None)
        thing.material_slots[0].link = "OBJECT"
        thing.material_slots[0].material = self._material(item["color"], item["material"])
        return thing

    def _material(self, color, kind):
        if (color, kind) not in self._materials:
            self._materials[color, kind] = self.make_material(color, kind)
        return self._materials[color, kind]

    def make_material(self, color, kind):
        """A material that no object has yet."""
        raise NotImplementedError


class PrimitiveStage(Stage):
    """A floor, three lights and a camera, and objects of CLEVR's shapes, all made here."""

    def __init__(self):
        bpy.ops.wm.read_factory_settings(use_empty=True)
        meshes = {"cube": _cube(), "sphere": _sphere(), "cylinder": _cylinder()}
        scene = bpy.context.scene
        lights = {name: _area_light(name, *settings) for name, settings in LIGHTS.items()}
        super().__init__(scene, _camera(), lights, meshes)
        for thing in (self.camera, _sun(), _floor(), *lights.values()):
            scene.collection.objects.link(thing)
        scene.camera = self.camera
        scene.world = _world()

    def make_material(self, color, kind):
        """Dull rubber, or metal in which the lights are seen."""
        roughness, metallic = (0.22, 1.0) if kind == "metal" else (0.65, 0.0)
        return _principled(f"{color} {kind}", [_linear(value) for value in COLORS[color]], roughness, metallic)


class ClevrStage(Stage):
    """The base scene, shapes and materials of facebookresearch/clevr-dataset-gen."""

    def __init__(self, folder):
        self._data = os.path.join(folder, "image_generation", "data")
        bpy.ops.wm.open_mainfile(filepath=os.path.join(self._data, "base_scene.blend"))
        meshes = {shape: self._load("shapes", name, "objects").data for shape, name in CLEVR_SHAPES.items()}
        self._groups = {kind: self._load("materials", name, "node_groups") for kind, name in CLEVR_MATERIALS.items()}
        lights = {name: bpy.data.objects[lamp] for name, lamp in CLEVR_LAMPS.items()}
        super().__init__(bpy.context.scene, bpy.data.objects["Camera"], lights, meshes)
        self.camera.data.clip_start = 0.01
        self.camera.constraints.clear()  # the specification says where it looks

    def _load(self, folder, name, kind):
        with bpy.data.libraries.load(os.path.join(self._data, folder, f"{name}.blend")) as (_, wanted):
            setattr(wanted, kind, [name])
        return getattr(wanted, kind)[0]

    def make_material(self, color, kind):
        """CLEVR's own; its colours are handed to the shader as they are, without decoding them."""
        material = bpy.data.materials.new(f"{color} {kind}")
        material.use_nodes = True
        tree = material.node_tree
        tree.nodes.clear()
        output, group = tree.nodes.new("ShaderNodeOutputMaterial"), tree.nodes.new("ShaderNodeGroup")
        group.node_tree = self._groups[kind]
        group.inputs["Color"].default_value = (*(value / 255.0 for value in COLORS[color]), 1.0)
        tree.links.new(group.outputs["Shader"], output.inputs["Surface"])
        return material


def _camera():
    data = bpy.data.cameras.new("Camera")
    data.lens, data.sensor_width, data.clip_start = 35.0, 32.0, 0.01
    return bpy.data.objects.new("Camera", data)


def _world():
    """Even light from all sides; the camera itself sees the colour of the far floor."""
    world = bpy.data.worlds.new("World")
    world.use_nodes = True
    tree = world.node_tree
    light = next(node for node in tree.nodes if node.type == "BACKGROUND")
    output = next(node for node in tree.nodes if node.type == "OUTPUT_WORLD")
    light.inputs["Color"].default_value = (*WORLD, 1.0)
    sky = tree.nodes.new("ShaderNodeBackground")
    sky.inputs["Color"].default_value = (*SKY, 1.0)
    path, mixed = tree.nodes.new("ShaderNodeLightPath"), tree.nodes.new("ShaderNodeMixShader")
    tree.links.new(path.outputs["Is Camera Ray"], mixed.inputs[0])
    tree.links.new(light.outputs[0], mixed.inputs[1])
    tree.links.new(sky.outputs[0], mixed.inputs[2])
    tree.links.new(mixed.outputs[0], output.inputs["Surface"])
    return world


def _sun():
    place, strength, width = SUN
    data = bpy.data.lights.new("sun", "SUN")
    data.energy, data.angle = strength, width
    return _placed(bpy.data.objects.new("sun", data), place)


def _area_light(name, place, watts, side, color):
    data = bpy.data.lights.new(name, "AREA")
    data.energy, data.size, data.color = watts, side, color
    return _placed(bpy.data.objects.new(name, data), place)


def _placed(light, place):
    light.location = place
    _aim(light, Vector((0.0, 0.0, 0.0)))
    return light


def _floor():
    reach = 400.0
    mesh = bpy.data.meshes.new("floor")
    corners = [(-reach, -reach, 0), (reach, -reach, 0), (reach, reach, 0), (-reach, reach, 0)]
    mesh.from_pydata(corners, [], [(0, 1, 2, 3)])
    mesh.materials.append(_principled("floor", FLOOR, roughness=0.9, metallic=0.0))
    return bpy.data.objects.new("floor", mesh)


def _linear(value):
    """Linear intensity of an sRGB byte."""
    share = value / 255.0
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4


def _principled(name, rgb, roughness, metallic):
    material = bpy.data.materials.new(name)
    material.use_nodes = True
    shader = next(node for node in material.node_tree.nodes if node.type == "BSDF_PRINCIPLED")
    shader.inputs["Base Color"].default_value = (*rgb, 1.0)
    shader.inputs["Roughness"].default_value = roughness
    shader.inputs["Metallic"].default_value = metallic
    return material


def _finished(name, smooth):
    """Mesh of the object that was made last; it is as wide as its radius is 1."""
    thing = bpy.context.object
    mesh = thing.data
    mesh.name = name
    for polygon in mesh.polygons:
        polygon.use_smooth = smooth
    bpy.data.objects.remove(thing)
    return mesh


def _beveled(name):
    thing = bpy.context.object
    modifier = thing.modifiers.new("rounding", "BEVEL")
    modifier.width, modifier.segments, modifier.limit_method = CORNER_ROUNDING, 4, "ANGLE"
    mesh = bpy.data.meshes.new_from_object(thing.evaluated_get(bpy.context.evaluated_depsgraph_get()))
    thing.modifiers.clear()
    thing.data = mesh
    return _finished(name, smooth=True)


def _cube():
    # a little narrower than sphere and cylinder, so that corners of neighbours never touch; its base is at -1
    bpy.ops.mesh.primitive_cube_add(size=1.9)
    cube = _beveled("cube")
    cube.transform(Matrix.Translation((0.0, 0.0, -0.05)))
    return cube


def _sphere():
    bpy.ops.mesh.primitive_uv_sphere_add(radius=1.0, segments=64, ring_count=32)
    return _finished("sphere", smooth=True)


def _cylinder():
    bpy.ops.mesh.primitive_cylinder_add(radius=1.0, depth=2.0, vertices=64)
    return _beveled("cylinder")


def _aim(thing, target):
    thing.rotation_euler = (target - thing.location).to_track_quat("-Z", "Y").to_euler()


def show(scene, specification):
    """Put a specification's camera, lights and objects into the scene; returns the objects."""
    scene.camera.location = specification["camera"]["location"]
    _aim(scene.camera, Vector(specification["camera"]["target"]))
    for name, light in scene.lights.items():
        light.location = Vector(scene.places[name]) + Vector(specification["light_offsets"][name])
        if light.data.type == "AREA" and not light.constraints:
            _aim(light, Vector((0.0, 0.0, 0.0)))
    things = []
    for item in specification["objects"]:
        thing = scene.add(item)
        thing.scale = (item["radius"],) * 3
        thing.location = item["3d_coords"]
        thing.rotation_euler[2] = item["rotation"]
        things.append(thing)
    bpy.context.view_layer.update()
    return things


def open_scene(assets, folder):
    """The scene that objects are put into."""
    return ClevrStage(folder) if assets == "clevr" else PrimitiveStage()
